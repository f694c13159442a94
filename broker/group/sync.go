package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Sync is a SyncGroup. The leader's brings the assignment; everybody's answer is its own part of it, once it is durable.
func (g *Group) Sync(now time.Time, t Ticket, r *SyncRequest) Effects {
	reply := SyncReply{Ticket: t}
	if reply.Err = g.checkSync(r); reply.Err != nil {
		g.fx.Syncs = append(g.fx.Syncs, reply)
		return g.take()
	}
	m := g.byID[r.MemberID]
	m.mustSync = false
	g.settleSyncTimer()
	if g.state == Stable {
		g.renew(now, m)
		g.fx.Syncs = append(g.fx.Syncs, g.synced(m, t))
		return g.take()
	}
	g.answerSync(m, SyncReply{Err: kerr.RebalanceInProgress}) // of a connection that was given up
	m.sync = t
	if m.id == g.leader && g.assignSeq == 0 {
		g.assigning = make(map[string][]byte, len(g.members))
		for _, a := range r.Assignments {
			if g.byID[a.MemberID] != nil {
				g.assigning[a.MemberID] = a.Assignment
			}
		}
		g.assignSeq = g.save(g.assigning)
	}
	return g.take()
}

func (g *Group) checkSync(r *SyncRequest) *kerr.Error {
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable
	}
	if err := g.check(MemberRef{MemberID: r.MemberID, InstanceID: r.InstanceID}); err != nil {
		return err
	}
	switch {
	case !g.isAt(g.byID[r.MemberID], r.Generation):
		return kerr.IllegalGeneration
	case r.Generation != g.generation:
		return kerr.RebalanceInProgress
	case r.ProtocolType != "" && r.ProtocolType != g.protocolType, r.Protocol != "" && r.Protocol != g.protocol:
		return kerr.InconsistentGroupProtocol
	case g.state == Empty:
		return kerr.UnknownMemberID
	case g.state == PreparingRebalance:
		return kerr.RebalanceInProgress
	}
	return nil
}

// synced is a successful answer to a SyncGroup.
func (g *Group) synced(m *member, t Ticket) SyncReply {
	return SyncReply{Ticket: t, ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment}
}

// Saved reports that the save of that number is durable, or failed with err and may or may not be.
func (g *Group) Saved(now time.Time, seq uint64, err error) Effects {
	g.staticSaved(now, seq, err)
	// A rebalance that began since has made the assignment void.
	if g.state == CompletingRebalance && seq == g.assignSeq {
		if err != nil {
			g.dropAssignments(now, kerr.CoordinatorNotAvailable)
			g.prepareRebalance(now)
		} else {
			g.assigned(now)
		}
	}
	return g.take()
}

// assigned makes the group stable with the assignment that has become durable.
func (g *Group) assigned(now time.Time) {
	for _, m := range g.members {
		m.assignment = g.assigning[m.id]
		if g.answerSync(m, g.synced(m, m.sync)) {
			// Its session was not watched while it waited.
			g.renew(now, m)
		}
	}
	g.assignSeq, g.assigning = 0, nil
	g.transition(now, Stable)
}

// settleSyncTimer stops the sync timer when every member has sent its SyncGroup.
func (g *Group) settleSyncTimer() {
	for _, m := range g.members {
		if m.mustSync {
			return
		}
	}
	g.syncAt = time.Time{}
}

// syncTimeout is syncAt reached: members that got the generation and did not send SyncGroup within the rebalance timeout
// are removed, so that they do not hold partitions that nobody reads.
func (g *Group) syncTimeout(now time.Time) {
	g.syncAt = time.Time{}
	var late []string
	for _, m := range g.members {
		if m.mustSync {
			late = append(late, m.id)
		}
	}
	for _, id := range late {
		g.remove(id)
	}
	if len(late) > 0 && (g.state == CompletingRebalance || g.state == Stable) {
		g.prepareRebalance(now)
	}
}
