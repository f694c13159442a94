package consumer

import (
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// HeartbeatRequest is a ConsumerGroupHeartbeat. Fields that are nil have not changed since the last one.
type HeartbeatRequest struct {
	MemberID   string
	Epoch      int32 // 0 joins, -1 leaves, -2 is a static member that leaves and will be back
	InstanceID *string
	Rack       *string
	Rebalance  time.Duration // negative: not changed
	Names      []string
	Pattern    *string // a regular expression; "" is none
	Assignor   *string
	Owned      assign.Partitions
	ClientID   string
	ClientHost string
}

// HeartbeatReply answers it.
type HeartbeatReply struct {
	Err      *kerr.Error // nil is success
	Message  string      // of the error
	MemberID string
	Epoch    int32
	Interval time.Duration
	// Assignment is what the member shall have; nil says that this has not changed.
	Assignment assign.Partitions
}

func refuse(err *kerr.Error, format string, args ...any) HeartbeatReply {
	return HeartbeatReply{Err: err, Message: fmt.Sprintf(format, args...)}
}

// Check tests what can be said about a request without its group, and is to be called before Heartbeat.
func (r *HeartbeatRequest) Check() (HeartbeatReply, bool) {
	blank := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	invalid := func(text string) (HeartbeatReply, bool) { return refuse(kerr.InvalidRequest, "%s", text), false }
	switch {
	case blank(r.InstanceID):
		return invalid("InstanceId can't be empty.")
	case blank(r.Rack):
		return invalid("RackId can't be empty.")
	case blank(&r.MemberID):
		return invalid("MemberId can't be empty.")
	case r.Epoch < leftForNow:
		return invalid("MemberEpoch is invalid.")
	case r.Epoch == leftForNow && r.InstanceID == nil:
		return invalid("InstanceId can't be null.")
	case r.Epoch == 0 && r.Rebalance < 0:
		return invalid("RebalanceTimeoutMs must be provided in first request.")
	case r.Epoch == 0 && (r.Owned == nil || len(r.Owned) > 0):
		return invalid("TopicPartitions must be empty when (re-)joining.")
	case r.Epoch == 0 && r.Names == nil && r.Pattern == nil:
		return invalid("Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
	case r.Assignor != nil && !assign.Known(*r.Assignor):
		return refuse(kerr.UnsupportedAssignor, "ServerAssignor %s is not supported. Supported assignors: %s.", *r.Assignor,
			strings.Join(assign.Names(), ", ")), false
	}
	if r.Pattern != nil {
		if _, err := compile(*r.Pattern); err != nil {
			return refuse(kerr.InvalidRegularExpression, "%v", err), false
		}
	}
	return HeartbeatReply{}, true
}

// Heartbeat is a ConsumerGroupHeartbeat that has passed Check: a member joins, stays, tells what it gave up, or leaves.
func (g *Group) Heartbeat(now time.Time, r *HeartbeatRequest) (HeartbeatReply, Effects) {
	reply := g.heartbeat(now, r)
	return reply, g.take()
}

func (g *Group) heartbeat(now time.Time, r *HeartbeatRequest) HeartbeatReply {
	instance := ""
	if r.InstanceID != nil {
		instance = *r.InstanceID
	}
	if g.dead {
		return refuse(kerr.CoordinatorNotAvailable, "The group is gone.")
	}
	if r.Epoch < 0 {
		return g.leave(now, r, instance)
	}
	var m *member
	if r.Epoch == 0 {
		var err *kerr.Error
		var text string
		if m, err, text = g.enter(now, r.MemberID, instance, true); err != nil {
			return refuse(err, "%s", text)
		}
	} else {
		var err *kerr.Error
		var text string
		if m, err, text = g.find(r.MemberID, instance); err != nil {
			return refuse(err, "%s", text)
		}
		if !m.accepts(r) {
			than := "greater"
			if r.Epoch < m.epoch {
				than = "smaller"
			}
			return refuse(kerr.FencedMemberEpoch, "The consumer group member has a %s member epoch (%d) than the one known by the group coordinator "+
				"(%d). The member must abandon all its partitions and rejoin.", than, r.Epoch, m.epoch)
		}
	}
	before := m.assigned
	if g.describeSelf(m, r) {
		g.subscriptionsChanged = true
		g.resolve()
		g.bump()
	}
	g.update()
	g.reconcile(now, m, r.Owned)
	m.expires = now.Add(g.opts.SessionTimeout)

	reply := HeartbeatReply{MemberID: m.id, Epoch: m.epoch, Interval: g.opts.HeartbeatInterval}
	if m.state == Unreleased {
		reply.Interval = min(reply.Interval, waitingInterval)
	}
	full := r.Epoch == 0 || r.Rebalance >= 0 && (r.Names != nil || r.Pattern != nil) && r.Owned != nil
	if full || !before.Equal(m.assigned) {
		reply.Assignment = m.assigned
		if reply.Assignment == nil {
			reply.Assignment = assign.Partitions{}
		}
	}
	return reply
}

// accepts compares the epoch of a request. One behind is accepted if the member has nothing that it should not have: the answer
// that told it the present one may have been lost.
func (m *member) accepts(r *HeartbeatRequest) bool {
	if r.Epoch == m.epoch {
		return true
	}
	return r.Epoch < m.epoch && r.Epoch == m.previous && r.Owned != nil && len(r.Owned.Minus(m.assigned)) == 0
}

// enter is a join: of a new member, of one that is here already and begins anew, or of a static member in the place of its
// earlier self. modern says that the one who comes speaks the new protocol.
func (g *Group) enter(now time.Time, id, instance string, modern bool) (*member, *kerr.Error, string) {
	if len(g.members) >= g.opts.MaxSize && g.byID[id] == nil && (instance == "" || g.static[instance] == nil) {
		return nil, kerr.GroupMaxSizeReached, fmt.Sprintf("The consumer group has reached its maximum capacity of %d members.", g.opts.MaxSize)
	}
	old := g.byID[id]
	if instance != "" {
		old = g.static[instance]
		if other := g.byID[id]; other != nil && other != old {
			return nil, kerr.UnknownMemberID, "Member " + id + " is another member."
		}
	}
	switch {
	case old == nil:
		m := &member{id: id, instanceID: instance}
		g.add(now, m)
		return m, nil, ""
	case instance == "" || old.id == id:
		return old, nil, ""
	case modern && old.classic == nil && old.epoch != leftForNow:
		return nil, kerr.UnreleasedInstanceID, fmt.Sprintf("Static member %s with instance id %s cannot join the group because the instance id is "+
			"owned by %s member.", id, instance, old.id)
	}
	// The newcomer takes over: partitions, target, subscription.
	delete(g.byID, old.id)
	old.id, old.epoch, old.previous = id, 0, 0
	old.joinBy, old.syncBy = time.Time{}, time.Time{}
	g.byID[id] = old
	g.fx.Save = true
	return old, nil, ""
}

// describeSelf takes over what a member says about itself, and says whether that asks for another assignment.
func (g *Group) describeSelf(m *member, r *HeartbeatRequest) (changed bool) {
	if m.classic != nil {
		m.classic, m.joinBy, m.syncBy = nil, time.Time{}, time.Time{}
		g.fx.Save = true
	}
	set := func(to *string, from string) bool {
		if *to == from {
			return false
		}
		*to = from
		g.fx.Save = true
		return true
	}
	set(&m.clientID, r.ClientID)
	set(&m.clientHost, r.ClientHost)
	if r.Rack != nil {
		set(&m.rack, *r.Rack)
	}
	if r.Rebalance >= 0 && r.Rebalance != m.rebalance {
		m.rebalance = r.Rebalance
		g.fx.Save = true
	}
	if r.Assignor != nil {
		set(&m.assignor, *r.Assignor) // the next assignment is made with it
	}
	if r.Names != nil && m.setNames(r.Names) {
		changed = true
	}
	if r.Pattern != nil && set(&m.pattern, *r.Pattern) {
		changed = true
		m.regex = g.opts.Patterns.get(m.pattern)
	}
	return changed
}

// leave is epoch -1 or -2.
func (g *Group) leave(now time.Time, r *HeartbeatRequest, instance string) HeartbeatReply {
	m, err, text := g.find(r.MemberID, instance)
	if err != nil {
		return refuse(err, "%s", text)
	}
	if r.Epoch == leftForNow {
		g.own(m, m.assigned, nil, 0)
		m.previous, m.epoch, m.revokeBy = m.epoch, leftForNow, time.Time{}
		g.fx.Save = true
	} else {
		g.fence(now, m)
	}
	return HeartbeatReply{MemberID: r.MemberID, Epoch: r.Epoch}
}
