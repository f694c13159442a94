package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// replaceStatic lets a static member that comes without a member id take the place of its earlier self, which is fenced
// (KIP-345). In a stable group nothing else changes: it gets the assignment that it had with its next SyncGroup, and
// there is no rebalance unless the group would now choose another protocol.
func (g *Group) replaceStatic(now time.Time, t Ticket, r *JoinRequest, m *member) {
	old, leaderBefore := m.id, g.leader
	g.answerJoin(m, JoinReply{Err: kerr.FencedInstanceID, MemberID: old, Generation: -1})
	g.answerSync(m, SyncReply{Err: kerr.FencedInstanceID})
	delete(g.byID, old)
	m.id = r.NewMemberID
	g.byID[m.id] = m
	g.static[m.instanceID] = m.id
	if g.leader == old {
		g.leader = m.id
	}
	m.update(r)
	m.isNew = false // it may wait as long as a member that was here before
	g.park(m, t)
	g.renew(now, m)

	switch g.state {
	case Stable:
		if g.selectProtocol() != g.protocol {
			g.rebalanceOrComplete(now)
			return
		}
		reply := g.joined(m, t)
		reply.SkipAssignment = m.id == g.leader
		if !r.SkipsAssignment {
			// An older client that sees itself as the leader would assign, and a stable group does not take an
			// assignment. Told the leader that was, it takes itself for a follower.
			reply.Members, reply.Leader, reply.SkipAssignment = nil, leaderBefore, false
		}
		g.staticSaves = append(g.staticSaves, staticSave{seq: g.save(nil), reply: reply})
	case CompletingRebalance:
		// The leader may assign to the member's old id already.
		g.prepareRebalance(now)
	default:
		g.maybeCompleteJoin(now)
	}
}

// staticSaved answers the joins that waited for this save. A member whose ticket is gone got its answer in a rebalance
// that began in the meantime.
func (g *Group) staticSaved(now time.Time, seq uint64, err error) {
	left := g.staticSaves[:0]
	for _, s := range g.staticSaves {
		if s.seq != seq {
			left = append(left, s)
			continue
		}
		m := g.byID[s.reply.MemberID]
		if m == nil || m.join != s.reply.Ticket || g.state != Stable || g.generation != s.reply.Generation {
			continue
		}
		if err != nil {
			s.reply = JoinReply{Err: kerr.CoordinatorNotAvailable, Generation: -1}
		}
		g.answerJoin(m, s.reply)
		g.renew(now, m)
	}
	g.staticSaves = left
}
