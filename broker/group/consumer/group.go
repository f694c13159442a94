package consumer

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// Options are the settings of a group.
type Options struct {
	SessionTimeout    time.Duration // of members of the new protocol
	HeartbeatInterval time.Duration // that members are told
	MaxSize           int           // the largest number of members
	Topics            Topics
	// Patterns are of the same Topics and may be shared by many groups; somebody else refreshes them. nil: the group has its own.
	Patterns *Patterns
}

// State is where a group is.
type State string

const (
	// Empty has no members.
	Empty State = "Empty"
	// Assigning has a change that the target assignment does not know of yet.
	Assigning State = "Assigning"
	// Reconciling has members that are on their way to the target assignment.
	Reconciling State = "Reconciling"
	// Stable has members that all have what the target assignment gives them.
	Stable State = "Stable"
	// Dead is deleted or shut down.
	Dead State = "Dead"
)

// ProtocolType is what all groups of this kind are for.
const ProtocolType = "consumer"

// waitingInterval is the heartbeat interval of a member that waits for partitions of others: nothing can be pushed to it.
const waitingInterval = 500 * time.Millisecond

// Group is one consumer group as a state machine: every method is a step that takes the time and an event and returns the answer
// and what is to be done. It has no goroutine, lock or clock, and iterates over members in the order in which they joined, so
// that equal steps have equal effects. After each step the owner arranges that Tick is called at Deadline.
type Group struct {
	opts Options

	epoch           int32 // of members and their subscriptions
	assignmentEpoch int32 // that the target assignment was made for
	members         []*member
	byID            map[string]*member
	static          map[string]*member // by instance id
	owners          map[topicPartition]*member
	since           time.Time // of being empty, or not
	dead            bool

	topicsVersion        uint64
	topicsSum            uint64 // of subscribed, as the epoch knows it
	subscribed           map[TopicID]Topic
	ownPatterns          bool   // nobody else refreshes them
	patternsGrown        uint64 // that was looked at
	subscriptionsChanged bool

	fx Effects
}

// Effects is what a step asks the owner to do before it gives the answer.
type Effects struct {
	// Save: the group has changed, and what is answered from now on must not be known before that is durable.
	Save bool
	// Rebalances are the new epochs of the group.
	Rebalances int
}

// New is an empty group.
func New(now time.Time, opts Options) *Group {
	own := opts.Patterns == nil
	if own {
		opts.Patterns = NewPatterns(opts.Topics)
	}
	return &Group{opts: opts, ownPatterns: own, epoch: 1, since: now, subscriptionsChanged: true, topicsSum: digest(nil),
		byID: map[string]*member{}, static: map[string]*member{}, owners: map[topicPartition]*member{}}
}

// Configure changes the times of members of the new protocol, from their next heartbeats on.
func (g *Group) Configure(session, interval time.Duration) {
	g.opts.SessionTimeout, g.opts.HeartbeatInterval = session, interval
}

func (g *Group) take() Effects {
	fx := g.fx
	g.fx = Effects{}
	return fx
}

// State is the group's state.
func (g *Group) State() State {
	switch {
	case g.dead:
		return Dead
	case len(g.members) == 0:
		return Empty
	case g.epoch > g.assignmentEpoch:
		return Assigning
	}
	for _, m := range g.members {
		if !m.isStableAt(g.assignmentEpoch) {
			return Reconciling
		}
	}
	return Stable
}

// Epoch is the group's epoch; it never goes back.
func (g *Group) Epoch() int32 { return g.epoch }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// AllClassic says that there are members and all of them speak the classic protocol: the group can be a classic one.
func (g *Group) AllClassic() bool {
	return len(g.members) > 0 && !slices.ContainsFunc(g.members, func(m *member) bool { return m.classic == nil })
}

// Kill ends the group.
func (g *Group) Kill() { g.dead = true }

// bump gives the group its next epoch.
func (g *Group) bump() {
	g.epoch++
	g.fx.Save = true
	g.fx.Rebalances++
}

func (g *Group) add(now time.Time, m *member) {
	if len(g.members) == 0 {
		g.since = now
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instanceID != "" {
		g.static[m.instanceID] = m
	}
	g.subscriptionsChanged = true
	g.fx.Save = true
}

// remove takes a member out of the group: its partitions are free at once.
func (g *Group) remove(now time.Time, m *member) {
	g.own(m, nil, nil, 0)
	delete(g.byID, m.id)
	if g.static[m.instanceID] == m {
		delete(g.static, m.instanceID)
	}
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	if len(g.members) == 0 {
		g.since = now
	}
	g.subscriptionsChanged = true
	g.fx.Save = true
}

// fence removes a member, which asks for another assignment.
func (g *Group) fence(now time.Time, m *member) {
	g.remove(now, m)
	g.membersLeft()
}

// membersLeft asks for another assignment.
func (g *Group) membersLeft() {
	g.resolve()
	g.bump()
}

// own changes what the member has. A partition that is new to it was got at epoch.
func (g *Group) own(m *member, assigned, revoking assign.Partitions, epoch int32) {
	since := make(map[topicPartition]int32, assigned.Count()+revoking.Count())
	for _, p := range []assign.Partitions{assigned, revoking} {
		for topic, s := range p {
			for _, n := range s {
				tp := topicPartition{topic, n}
				if at, ok := m.since[tp]; ok {
					since[tp] = at
					continue
				}
				if g.owners[tp] != nil {
					panic("consumer: a partition that has an owner is given to another member")
				}
				since[tp] = epoch
				g.owners[tp] = m
			}
		}
	}
	for tp := range m.since {
		if _, ok := since[tp]; !ok {
			delete(g.owners, tp)
		}
	}
	m.assigned, m.revoking, m.since = assigned, revoking, since
}

// update makes a target assignment for the group's epoch, if there is none.
func (g *Group) update() {
	if g.resolve() {
		g.bump()
	}
	if g.assignmentEpoch == g.epoch {
		return
	}
	members := make([]assign.Member, len(g.members))
	for i, m := range g.members {
		members[i] = assign.Member{ID: m.id, InstanceID: m.instanceID, Topics: m.topics, Has: m.target}
	}
	target, err := assign.Assign(g.Assignor(), members, func(id TopicID) int { return g.subscribed[id].Partitions })
	if err != nil {
		panic("consumer: " + err.Error()) // names are checked when members come with them
	}
	for _, m := range g.members {
		m.target = target[m.id]
	}
	g.assignmentEpoch = g.epoch
	g.fx.Save = true
}

// Assignor is the one that most members want.
func (g *Group) Assignor() string {
	votes := map[string]int{}
	best := assign.Default()
	for _, m := range g.members {
		if m.assignor == "" {
			continue
		}
		votes[m.assignor]++
		if n := votes[m.assignor]; n > votes[best] || n == votes[best] && m.assignor < best {
			best = m.assignor
		}
	}
	return best
}

// find is the member of a request that is not a join.
func (g *Group) find(id, instanceID string) (*member, *kerr.Error, string) {
	if instanceID != "" {
		m := g.static[instanceID]
		switch {
		case m == nil:
			return nil, kerr.UnknownMemberID, "Instance id " + instanceID + " is unknown."
		case m.id != id:
			return nil, kerr.FencedInstanceID, "Static member " + id + " with instance id " + instanceID + " was fenced by member " + m.id + "."
		}
		return m, nil, ""
	}
	if m := g.byID[id]; m != nil {
		return m, nil, ""
	}
	return nil, kerr.UnknownMemberID, "Member " + id + " is not a member of the group."
}

func compareIDs(a, b TopicID) int { return bytes.Compare(a[:], b[:]) }

func sortedIDs[V any](m map[TopicID]V) []TopicID { return slices.SortedFunc(maps.Keys(m), compareIDs) }
