package group

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/broker/group/consumer"
)

// matchesMax is how many names of topics a heartbeat holds against regular expressions for all groups, before it takes the coordinator's
// lock: some tens of milliseconds at worst. When many topics come while there are many expressions, the next heartbeats go on.
const matchesMax = 1 << 16

// ConsumerHeartbeat is a ConsumerGroupHeartbeat. done is called once: during the call, or when what the answer says is durable.
// nameMember makes an id for a member that has none (v0 of the API).
func (c *Coordinator) ConsumerHeartbeat(name string, r consumer.HeartbeatRequest, nameMember bool, done func(consumer.HeartbeatReply)) {
	refuse := func(err *kerr.Error, format string, args ...any) {
		done(consumer.HeartbeatReply{Err: err, Message: fmt.Sprintf(format, args...)})
	}
	if strings.TrimSpace(name) == "" {
		refuse(kerr.InvalidRequest, "GroupId can't be empty.")
		return
	}
	if !validName(name) {
		refuse(kerr.InvalidGroupID, "The group id has a character that cannot be in one.")
		return
	}
	if nameMember && r.MemberID == "" && r.Epoch == 0 {
		var b [16]byte
		if _, err := c.cfg.Rand.Read(b[:]); err != nil {
			c.cfg.Logger.Error("cannot name a group member", "group", name, "error", err)
			refuse(kerr.UnknownServerError, "")
			return
		}
		r.MemberID = base64.RawURLEncoding.EncodeToString(b[:])
	}
	if reply, ok := r.Check(); !ok {
		done(reply)
		return
	}
	c.patterns.Refresh(matchesMax)
	if r.Pattern != nil {
		defer runtime.KeepAlive(c.patterns.Prepare(*r.Pattern))
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		refuse(kerr.CoordinatorNotAvailable, "The broker is shutting down.")
		return
	}
	now := c.cfg.Now()
	e, g, err := c.consumerLocked(name, now, r.Epoch == 0)
	if err != "" {
		c.mu.Unlock()
		refuse(kerr.GroupIDNotFound, "%s", err)
		return
	}
	reply, fx := g.Heartbeat(now, &r)
	var out outbox
	if reply.Err == nil {
		c.adoptLocked(e, g, now, &out)
	}
	c.answerLocked(e, g, now, fx, false, &out, func(err error) {
		if err != nil {
			reply = consumer.HeartbeatReply{Err: kerr.CoordinatorNotAvailable, Message: "The group could not be made durable."}
		}
		done(reply)
	})
	c.mu.Unlock()
	out.deliver()
}

// consumerLocked finds the consumer group of a heartbeat. A join creates it, or makes it of a classic group; it becomes the entry's with
// adoptLocked. why tells that there is none.
func (c *Coordinator) consumerLocked(name string, now time.Time, join bool) (e *entry, g *modern, why string) {
	e = c.groupLocked(name)
	switch {
	case e == nil && !join:
		return nil, nil, "Group " + name + " not found."
	case e == nil:
		e = c.entryLocked(name)
	case e.consumer() != nil:
		g = e.consumer()
		g.Configure(c.timing(name))
		return e, g, ""
	case !join:
		return nil, nil, "Group " + name + " is not a consumer group."
	case !e.group.empty():
		if g = c.upgrade(name, e.classic(), now); g == nil {
			return nil, nil, "Group " + name + " is not a consumer group, and cannot become one."
		}
		return e, g, ""
	}
	return e, &modern{Group: consumer.New(now, c.consumerOptions(name))}, ""
}

// adoptLocked makes g the entry's group. Whoever waits for a classic group that it was is told to join again.
func (c *Coordinator) adoptLocked(e *entry, g *modern, now time.Time, out *outbox) {
	if e.consumer() == g {
		return
	}
	if was := e.classic(); was != nil {
		c.repliesLocked(was.Kill(now, kerr.RebalanceInProgress), out)
		if g.Size() > 1 {
			c.cfg.Logger.Info("classic group upgraded to a consumer group", "group", e.name, "members", g.Size())
		}
	}
	e.group = g
}

// upgrade makes a consumer group of a classic one with members; nil if it cannot be one.
func (c *Coordinator) upgrade(name string, g *Group, now time.Time) *modern {
	if g.protocolType != consumerType || len(g.members) > c.cfg.ConsumerMaxSize {
		return nil
	}
	members := make([]consumer.ClassicMember, len(g.members))
	for i, m := range g.members {
		members[i] = consumer.ClassicMember{ID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			Session: m.session, Rebalance: m.rebalance, Protocols: m.protocols, Assignment: m.assignment}
	}
	upgraded, ok := consumer.Upgrade(now, c.consumerOptions(name), g.generation, g.protocol, members)
	if !ok {
		return nil
	}
	return &modern{Group: upgraded}
}

// answerLocked gives the answer of a step: at once if all that it rests on is durable. joined says that the step was a classic member's
// join, which leaves the group's members where they are if it turns the group into a classic one.
func (c *Coordinator) answerLocked(e *entry, g *modern, now time.Time, fx consumer.Effects, joined bool, out *outbox, done func(error)) {
	c.metrics.rebalances.Add(float64(fx.Rebalances))
	if e.group != machine(g) { // it was refused, and is nobody's
		if e.group == nil && !e.writing {
			delete(c.entries, e.name)
		}
		*out = append(*out, func() { done(nil) })
		return
	}
	switch {
	case g.AllClassic():
		c.downgradeLocked(e, g, now, joined, done)
	case fx.Save || g.unsaved || e.keeps > 0:
		g.unsaved = false
		e.keeps++
		c.enqueueLocked(e, write{keep: true, done: done})
	default:
		*out = append(*out, func() { done(nil) })
	}
	if c.setTimerLocked(e) {
		deadline.Wake(c.wake)
	}
}

// downgradeLocked makes a classic group of one whose members are all classic. They are told to join again.
func (c *Coordinator) downgradeLocked(e *entry, g *modern, now time.Time, joined bool, done func(error)) {
	generation, members := g.Downgrade()
	meta := Metadata{ProtocolType: consumerType, Generation: generation, SinceMs: now.UnixMilli()}
	for _, m := range members {
		meta.Members = append(meta.Members, MemberMetadata{ID: m.ID, InstanceID: m.InstanceID, ClientID: m.ClientID, ClientHost: m.ClientHost,
			SessionMs: m.Session.Milliseconds(), RebalanceMs: m.Rebalance.Milliseconds(), Protocols: m.Protocols, Assignment: m.Assignment})
	}
	classic := Restore(now, c.options(), meta)
	for i, m := range members {
		if m.Epoch != generation {
			classic.members[i].former = m.Epoch
		}
	}
	classic.protocol = classic.selectProtocol()
	classic.subscribed = classic.subscriptions()
	classic.save(nil)
	save := classic.take().Save
	if !joined {
		classic.prepareRebalance(now)
		classic.take() // nobody waits yet
	}
	g.Kill()
	e.group = classic
	c.cfg.Logger.Info("consumer group downgraded to a classic group", "group", e.name, "members", len(members))
	c.enqueueLocked(e, write{save: save, done: done})
}

// tickLocked does what is due in a consumer group.
func (c *Coordinator) tickLocked(e *entry, g *modern, now time.Time, out *outbox) {
	fx := g.Tick(now)
	c.answerLocked(e, g, now, fx, false, out, func(error) {})
}

// joinConsumerLocked is a JoinGroup of a classic member in a consumer group.
func (c *Coordinator) joinConsumerLocked(e *entry, g *modern, now time.Time, r *JoinRequest, out *outbox, done func(JoinReply)) {
	got, fx := g.Join(now, &consumer.JoinRequest{MemberID: r.MemberID, NewMemberID: r.NewMemberID, InstanceID: r.InstanceID,
		ClientID: r.ClientID, ClientHost: r.ClientHost, ProtocolType: r.ProtocolType, Protocols: r.Protocols,
		Session: r.SessionTimeout, Rebalance: r.RebalanceTimeout, RequireMemberID: r.RequireMemberID})
	reply := JoinReply{Err: got.Err, MemberID: got.MemberID, Generation: got.Epoch}
	if got.Err == nil {
		reply.ProtocolType, reply.Protocol = consumer.ProtocolType, got.Protocol
	}
	c.answerLocked(e, g, now, fx, true, out, func(err error) {
		if err != nil {
			reply = JoinReply{Err: kerr.CoordinatorNotAvailable, MemberID: r.MemberID, Generation: -1}
		}
		done(reply)
	})
}

// syncConsumerLocked is a SyncGroup of a classic member in a consumer group.
func (c *Coordinator) syncConsumerLocked(e *entry, g *modern, now time.Time, r *SyncRequest, out *outbox, done func(SyncReply)) {
	reply := SyncReply{ProtocolType: r.ProtocolType, Protocol: r.Protocol}
	if reply.Assignment, reply.Err = g.Sync(now, r.MemberID, r.InstanceID, r.Generation, r.ProtocolType, r.Protocol); reply.Err != nil {
		reply = SyncReply{Err: reply.Err}
	}
	c.answerLocked(e, g, now, consumer.Effects{}, true, out, func(err error) {
		if err != nil {
			reply = SyncReply{Err: kerr.CoordinatorNotAvailable}
		}
		done(reply)
	})
}

// leaveConsumerLocked is a LeaveGroup in a consumer group.
func (c *Coordinator) leaveConsumerLocked(e *entry, g *modern, now time.Time, refs []MemberRef, out *outbox) []*kerr.Error {
	members := make([]consumer.MemberRef, len(refs))
	for i, ref := range refs {
		members[i] = consumer.MemberRef{MemberID: ref.MemberID, InstanceID: ref.InstanceID}
	}
	errs, fx := g.Leave(now, members)
	c.answerLocked(e, g, now, fx, false, out, func(error) {})
	return errs
}

// DescribeConsumer is one consumer group. known tells a classic group from none.
func (c *Coordinator) DescribeConsumer(name string) (d consumer.Description, ok, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	if e == nil {
		return d, false, false
	}
	if g := e.consumer(); g != nil {
		return g.Describe(), true, true
	}
	return d, false, true
}

// CheckFetch says whether the sender of an OffsetFetch may read the offsets of the group: only consumer groups refuse.
func (c *Coordinator) CheckFetch(name string, memberID *string, epoch int32) *kerr.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.groupLocked(name); e != nil && e.consumer() != nil {
		return e.consumer().CheckFetch(memberID, epoch)
	}
	return nil
}

func (c *Coordinator) consumerOptions(name string) consumer.Options {
	o := consumer.Options{MaxSize: c.cfg.ConsumerMaxSize, Topics: c.cfg.Topics, Patterns: c.patterns}
	o.SessionTimeout, o.HeartbeatInterval = c.timing(name)
	return o
}

// timing is the session timeout and the heartbeat interval of a group.
func (c *Coordinator) timing(name string) (session, interval time.Duration) {
	of := func(config string, value time.Duration) time.Duration {
		if c.cfg.GroupConfig != nil {
			if ms, err := strconv.Atoi(c.cfg.GroupConfig(name, config)); err == nil && ms > 0 {
				return time.Duration(ms) * time.Millisecond
			}
		}
		return value
	}
	return of("consumer.session.timeout.ms", c.cfg.ConsumerSessionTimeout), of("consumer.heartbeat.interval.ms", c.cfg.ConsumerHeartbeatInterval)
}

// noTopics are those of a coordinator that was given none.
type noTopics struct{}

func (noTopics) Version() uint64                              { return 0 }
func (noTopics) ByName(string) (consumer.Topic, bool)         { return consumer.Topic{}, false }
func (noTopics) ByID(consumer.TopicID) (consumer.Topic, bool) { return consumer.Topic{}, false }
func (noTopics) All() []consumer.Topic                        { return nil }
