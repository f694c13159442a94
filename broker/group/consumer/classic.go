package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// Classic members take part with JoinGroup, SyncGroup and Heartbeat while a group migrates. Each joins for itself: nobody is the
// leader, the assignment is the broker's, the generation is the member's epoch, and a heartbeat that is answered with
// REBALANCE_IN_PROGRESS is how the member learns of a change. What it must give up it gives up by joining without it.

// JoinRequest is a JoinGroup.
type JoinRequest struct {
	MemberID           string // "" when the member has none yet
	NewMemberID        string // what it is called then
	InstanceID         string
	ClientID           string
	ClientHost         string
	ProtocolType       string
	Protocols          []Protocol
	Session, Rebalance time.Duration
	RequireMemberID    bool // hand out the id and let it ask again (KIP-394)
}

// JoinReply answers it.
type JoinReply struct {
	Err      *kerr.Error
	MemberID string
	Epoch    int32
	Protocol string
}

// Join is a JoinGroup of a classic member.
func (g *Group) Join(now time.Time, r *JoinRequest) (JoinReply, Effects) {
	reply := g.join(now, r)
	return reply, g.take()
}

func (g *Group) join(now time.Time, r *JoinRequest) JoinReply {
	failed := func(err *kerr.Error, id string) JoinReply { return JoinReply{Err: err, MemberID: id, Epoch: -1} }
	if g.dead {
		return failed(kerr.CoordinatorNotAvailable, r.MemberID)
	}
	subscription, ok := subscriptionOf(r.Protocols)
	if !ok || r.ProtocolType != ProtocolType || !g.supports(r) {
		return failed(kerr.InconsistentGroupProtocol, r.MemberID)
	}
	id := r.MemberID
	if id == "" {
		if id = r.NewMemberID; r.RequireMemberID && r.InstanceID == "" {
			return failed(kerr.MemberIDRequired, id)
		}
	} else if r.InstanceID != "" {
		if _, err, _ := g.find(id, r.InstanceID); err != nil {
			return failed(err, id)
		}
	} else if g.byID[id] == nil && len(subscription.OwnedPartitions) > 0 {
		// Ids that were handed out are not kept, so an unknown one is taken for new. One that has partitions is not: it was removed,
		// and must give up what it has before it comes back.
		return failed(kerr.UnknownMemberID, id)
	}
	m, err, _ := g.enter(now, id, r.InstanceID, false)
	if err == kerr.GroupMaxSizeReached {
		return failed(err, "")
	}
	if err != nil {
		return failed(err, id)
	}
	changed := m.setNames(subscription.Topics)
	if m.pattern != "" {
		m.pattern, m.regex, changed = "", nil, true
	}
	m.classic = &classic{session: r.Session, protocols: r.Protocols}
	m.rebalance, m.clientID, m.clientHost, m.assignor = r.Rebalance, r.ClientID, r.ClientHost, ""
	if subscription.Rack != nil {
		m.rack = *subscription.Rack
	}
	g.fx.Save = true
	if changed {
		g.subscriptionsChanged = true
		g.resolve()
		g.bump()
	}
	g.update()
	g.reconcile(now, m, g.ownedBy(subscription))
	m.expires = now.Add(r.Session)
	m.joinBy, m.revokeBy, m.syncBy = time.Time{}, time.Time{}, now.Add(r.Rebalance)
	return JoinReply{MemberID: m.id, Epoch: m.epoch, Protocol: m.classic.protocols[0].Name}
}

// supports says that the joining member has a protocol in common with all classic members: the group may become a classic one.
func (g *Group) supports(r *JoinRequest) bool {
	for _, p := range r.Protocols {
		all := true
		for _, m := range g.members {
			all = all && (m.classic == nil || m.id == r.MemberID || m.classic.supports(p.Name))
		}
		if all {
			return true
		}
	}
	return false
}

func (c *classic) supports(name string) bool {
	for _, p := range c.protocols {
		if p.Name == name {
			return true
		}
	}
	return false
}

// subscriptionOf is what the first protocol says; all say the same.
func subscriptionOf(protocols []Protocol) (s kmsg.ConsumerMemberMetadata, ok bool) {
	if len(protocols) == 0 {
		return s, false
	}
	return s, s.ReadFrom(protocols[0].Metadata) == nil
}

// ownedBy is what the member still has. An eager member has given up everything before it joins.
func (g *Group) ownedBy(s kmsg.ConsumerMemberMetadata) assign.Partitions {
	owned := map[TopicID][]int32{}
	for _, o := range s.OwnedPartitions {
		if t, ok := g.opts.Topics.ByName(o.Topic); ok {
			owned[t.ID] = append(owned[t.ID], o.Partitions...)
		}
	}
	return assign.Of(owned)
}

// classicMember is the classic member that a request is by.
func (g *Group) classicMember(id, instance string) (*member, *kerr.Error) {
	if g.dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	m, err, _ := g.find(id, instance)
	if err != nil {
		return nil, err
	}
	if m.classic == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

// Sync is a SyncGroup: the member's assignment, serialised for it. protocolType and protocol are compared if they are not "".
func (g *Group) Sync(now time.Time, id, instance string, generation int32, protocolType, protocol string) ([]byte, *kerr.Error) {
	m, err := g.classicMember(id, instance)
	if err != nil {
		return nil, err
	}
	switch {
	case m.epoch != generation:
		return nil, kerr.IllegalGeneration
	case protocolType != "" && protocolType != ProtocolType, protocol != "" && protocol != m.classic.protocols[0].Name:
		return nil, kerr.InconsistentGroupProtocol
	case g.epoch > m.epoch && m.state != Unrevoked:
		m.mustJoin(now)
		return nil, kerr.RebalanceInProgress
	}
	m.syncBy = time.Time{}
	m.expires = now.Add(m.classic.session)
	return g.serialise(m, m.assigned), nil
}

// ClassicHeartbeat is a Heartbeat. It may be the first to see that topics have changed.
func (g *Group) ClassicHeartbeat(now time.Time, id, instance string, generation int32) (*kerr.Error, Effects) {
	m, err := g.classicMember(id, instance)
	if err != nil {
		return err, g.take()
	}
	if m.epoch != generation {
		return kerr.IllegalGeneration, g.take()
	}
	m.expires = now.Add(m.classic.session)
	g.update()
	if m.epoch < g.epoch || m.state == Unrevoked || m.state == Unreleased && !g.waitsForOthers(m) {
		m.mustJoin(now)
		return kerr.RebalanceInProgress, g.take()
	}
	return nil, g.take()
}

func (m *member) mustJoin(now time.Time) {
	if m.joinBy.IsZero() {
		m.joinBy = now.Add(m.rebalance)
	}
}

// MemberRef names a member that leaves.
type MemberRef struct{ MemberID, InstanceID string }

// Leave is a LeaveGroup, one error per reference. Members of the new protocol can be removed by it as well.
func (g *Group) Leave(now time.Time, refs []MemberRef) ([]*kerr.Error, Effects) {
	errs := make([]*kerr.Error, len(refs))
	left := false
	for i, ref := range refs {
		if g.dead {
			errs[i] = kerr.CoordinatorNotAvailable
			continue
		}
		id := ref.MemberID
		if s := g.static[ref.InstanceID]; id == "" && ref.InstanceID != "" && s != nil {
			id = s.id // an administrator removes a static member
		}
		m, err, _ := g.find(id, ref.InstanceID)
		if errs[i] = err; err == nil {
			g.remove(now, m)
			left = true
		}
	}
	if left {
		g.membersLeft()
	}
	return errs, g.take()
}

// serialise is an assignment in the classic protocol's form, of the version that the member's subscription has.
func (g *Group) serialise(m *member, p assign.Partitions) []byte {
	a := kmsg.ConsumerMemberAssignment{}
	if s, ok := subscriptionOf(m.classic.protocols); ok {
		a.Version = min(s.Version, 3)
	}
	for _, id := range p.Topics() {
		if t, ok := g.opts.Topics.ByID(id); ok {
			a.Topics = append(a.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: t.Name, Partitions: p[id]})
		}
	}
	return a.AppendTo(nil)
}
