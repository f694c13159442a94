package consumer

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// ClassicMember is a member of a classic group that becomes a consumer group, or the other way round.
type ClassicMember struct {
	ID, InstanceID       string
	ClientID, ClientHost string
	Session, Rebalance   time.Duration
	Protocols            []Protocol
	Assignment           []byte // in the classic protocol's form
	Epoch                int32  // of the member, in a consumer group
}

// Upgrade makes a consumer group of a classic one, in which every member has what it has there. The generation becomes the epoch,
// which the caller's next step, the join of the first member of the new protocol, takes further: all others join again then.
// protocol is the one of the classic generation, "" before the first. False: a member's metadata is not a consumer's.
func Upgrade(now time.Time, opts Options, generation int32, protocol string, members []ClassicMember) (*Group, bool) {
	g := New(now, opts)
	g.epoch, g.assignmentEpoch = max(generation, 1), max(generation, 1)
	for _, c := range members {
		subscription, ok := subscriptionOf(c.Protocols)
		for _, p := range c.Protocols {
			if p.Name == protocol {
				subscription, ok = subscriptionOf([]Protocol{p})
			}
		}
		if !ok {
			return nil, false
		}
		m := &member{id: c.ID, instanceID: c.InstanceID, clientID: c.ClientID, clientHost: c.ClientHost, rebalance: c.Rebalance,
			epoch: g.epoch, previous: g.epoch, expires: now.Add(c.Session), classic: &classic{session: c.Session, protocols: c.Protocols}}
		m.setNames(subscription.Topics)
		if subscription.Rack != nil {
			m.rack = *subscription.Rack
		}
		g.add(now, m)
		has := g.parse(c.Assignment).Filter(func(topic TopicID, n int32) bool { return g.owners[topicPartition{topic, n}] == nil })
		m.target = has
		g.own(m, has, nil, g.epoch)
	}
	return g, true
}

// parse reads an assignment in the classic form; what is not one is none.
func (g *Group) parse(b []byte) assign.Partitions {
	var a kmsg.ConsumerMemberAssignment
	if len(b) == 0 || a.ReadFrom(b) != nil {
		return nil
	}
	all := map[TopicID][]int32{}
	for _, at := range a.Topics {
		if t, ok := g.opts.Topics.ByName(at.Topic); ok {
			all[t.ID] = append(all[t.ID], at.Partitions...)
		}
	}
	return assign.Of(all)
}

// Downgrade is what a classic group has to begin with, when all members speak the classic protocol: their targets as their
// assignments, and as the generation the epoch of these, which most members are at.
func (g *Group) Downgrade() (generation int32, members []ClassicMember) {
	for _, m := range g.members {
		members = append(members, ClassicMember{ID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			Session: m.classic.session, Rebalance: m.rebalance, Protocols: m.classic.protocols, Assignment: g.serialise(m, m.target), Epoch: m.epoch})
	}
	return max(g.assignmentEpoch, 1), members
}
