package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Heartbeat keeps a member's session; REBALANCE_IN_PROGRESS tells it to join again.
func (g *Group) Heartbeat(now time.Time, ref MemberRef) *kerr.Error {
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable
	}
	if err := g.check(ref); err != nil {
		return err
	}
	m := g.byID[ref.MemberID]
	if !g.isAt(m, ref.Generation) {
		return kerr.IllegalGeneration
	}
	g.renew(now, m)
	if g.state == PreparingRebalance || ref.Generation != g.generation {
		return kerr.RebalanceInProgress
	}
	return nil
}

// Commit says whether an offset commit by this sender is accepted, and keeps its session. Generation -1 is a consumer
// without a group, or an admin client: it may commit while the group is Empty.
func (g *Group) Commit(now time.Time, ref MemberRef) *kerr.Error {
	switch {
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	case ref.Generation < 0 && g.state == Empty:
		return nil
	case ref.Generation < 0 && ref.MemberID == "" && ref.InstanceID == "":
		return kerr.UnknownMemberID
	}
	if err := g.check(ref); err != nil {
		return err
	}
	if !g.isAt(g.byID[ref.MemberID], ref.Generation) {
		return kerr.IllegalGeneration
	}
	if g.state == CompletingRebalance {
		// It has the new generation from its JoinGroup, but no assignment of it.
		return kerr.RebalanceInProgress
	}
	g.renew(now, g.byID[ref.MemberID])
	return nil
}

// Leave removes members, one error per reference in their order. A reference without a member id names a static member
// that an administrator removes.
func (g *Group) Leave(now time.Time, refs []MemberRef) ([]*kerr.Error, Effects) {
	errs := make([]*kerr.Error, len(refs))
	left := false
	for i, ref := range refs {
		errs[i] = g.leave(ref)
		left = left || errs[i] == nil
	}
	if left {
		g.membersLeft(now)
	}
	return errs, g.take()
}

func (g *Group) leave(ref MemberRef) *kerr.Error {
	if g.state == Dead {
		return kerr.CoordinatorNotAvailable
	}
	if ref.MemberID == "" {
		id, ok := g.static[ref.InstanceID]
		if !ok || ref.InstanceID == "" {
			return kerr.UnknownMemberID
		}
		g.remove(id)
		return nil
	}
	if _, pending := g.pending[ref.MemberID]; !pending {
		if err := g.check(ref); err != nil {
			return err
		}
	}
	g.remove(ref.MemberID)
	return nil
}

// membersLeft goes on without members that have been removed.
func (g *Group) membersLeft(now time.Time) {
	switch g.state {
	case Stable, CompletingRebalance:
		g.prepareRebalance(now)
	case PreparingRebalance:
		g.maybeCompleteJoin(now)
	}
}

// Kill ends the group: everything that waits is answered with err.
func (g *Group) Kill(now time.Time, err *kerr.Error) Effects {
	for _, m := range g.members {
		g.answerJoin(m, JoinReply{Err: err, MemberID: m.id, Generation: -1})
		g.answerSync(m, SyncReply{Err: err})
	}
	g.transition(now, Dead)
	return g.take()
}

// Deadline is when Tick is to be called, if no other step comes before; false: nothing is timed.
func (g *Group) Deadline() (at time.Time, ok bool) {
	at, _ = g.next()
	return at, !at.IsZero()
}

// next is the earliest timer and what to do when it is reached. Timers of members come before those of phases when they
// are due together, so that a rebalance does not wait for who is gone.
func (g *Group) next() (at time.Time, do func(now time.Time)) {
	if g.state == Dead {
		return at, nil
	}
	earlier := func(t time.Time) bool { return !t.IsZero() && (at.IsZero() || t.Before(at)) }
	for _, m := range g.members {
		if earlier(m.expires) {
			at, do = m.expires, func(now time.Time) { g.expire(now, m) }
		}
	}
	for id, t := range g.pending {
		if earlier(t) {
			at, do = t, func(now time.Time) {
				delete(g.pending, id)
				g.maybeCompleteJoin(now)
			}
		}
	}
	if earlier(g.joinAt) {
		at, do = g.joinAt, g.joinTimeout
	}
	if earlier(g.syncAt) {
		at, do = g.syncAt, g.syncTimeout
	}
	return at, do
}

// Tick does what is due at now.
func (g *Group) Tick(now time.Time) Effects {
	var all Effects
	for {
		at, do := g.next()
		if at.IsZero() || at.After(now) {
			return all
		}
		do(now)
		fx := g.take()
		all.Joins = append(all.Joins, fx.Joins...)
		all.Syncs = append(all.Syncs, fx.Syncs...)
		if fx.Save != nil {
			all.Save = fx.Save
		}
	}
}

// expire ends the session of a member that was not heard of.
func (g *Group) expire(now time.Time, m *member) {
	if m.waits() {
		m.expires = time.Time{} // renewed with the answer
		return
	}
	g.remove(m.id)
	g.membersLeft(now)
}
