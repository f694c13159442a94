package consumer

import (
	"time"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// reconcile takes a member one step further to its target. owned is what it says to have; nil says nothing. It gives up what it
// must before it gets anything, and gets nothing that another member still has.
func (g *Group) reconcile(now time.Time, m *member, owned assign.Partitions) {
	switch {
	case m.isStableAt(g.assignmentEpoch):
		return
	case m.state == Unrevoked:
		if ownsAny(owned, m.revoking) {
			return
		}
		g.own(m, m.assigned, nil, 0)
		g.next(now, m, m.epoch+1, owned)
	default:
		g.next(now, m, m.epoch, owned)
	}
}

// next is the member's next assignment. epoch is the one that it has while it still has to give up partitions.
func (g *Group) next(now time.Time, m *member, epoch int32, owned assign.Partitions) {
	keep := m.assigned.And(m.target)
	revoke := m.assigned.Minus(m.target)
	if len(revoke) > 0 && ownsAny(owned, revoke) {
		g.own(m, keep, revoke, 0)
		m.revokeBy = now.Add(m.rebalance)
		g.moved(m, Unrevoked, epoch)
		return
	}
	g.own(m, keep, nil, 0) // what it gave up before is free, for itself as well
	missing := m.target.Minus(keep)
	free := missing.Filter(func(topic TopicID, n int32) bool { return g.owners[topicPartition{topic, n}] == nil })
	state := MemberStable
	if free.Count() < missing.Count() {
		state = Unreleased
	}
	m.revokeBy = time.Time{}
	if len(free) == 0 && state == m.state && m.epoch == g.assignmentEpoch {
		return // nothing has come free
	}
	g.own(m, keep.Or(free), nil, g.assignmentEpoch)
	g.moved(m, state, g.assignmentEpoch)
}

func (g *Group) moved(m *member, to MemberState, epoch int32) {
	m.state, m.previous, m.epoch = to, m.epoch, epoch
	g.fx.Save = true
}

// ownsAny says whether the member may still have one of the partitions.
func ownsAny(owned, of assign.Partitions) bool { return owned == nil || len(owned.And(of)) > 0 }

// waitsForOthers says that something of the member's target is not free yet.
func (g *Group) waitsForOthers(m *member) bool {
	for topic, s := range m.target.Minus(m.assigned) {
		for _, n := range s {
			if g.owners[topicPartition{topic, n}] != nil {
				return true
			}
		}
	}
	return false
}
