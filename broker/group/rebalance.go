package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rebalanceOrComplete follows every change of the members: it starts a rebalance, or completes the join phase of the one
// that runs if this was the last member that it waited for.
func (g *Group) rebalanceOrComplete(now time.Time) {
	if g.state == PreparingRebalance {
		g.maybeCompleteJoin(now)
		return
	}
	g.prepareRebalance(now)
}

// prepareRebalance begins the join phase. An empty group gives more members the time to join; any other waits until all
// that it knows have joined again, at most for their rebalance timeout.
func (g *Group) prepareRebalance(now time.Time) {
	if g.state == CompletingRebalance {
		g.dropAssignments(now, kerr.RebalanceInProgress)
	}
	for _, m := range g.members {
		m.mustSync = false
	}
	g.syncAt = time.Time{}
	wasEmpty := g.state == Empty
	g.transition(now, PreparingRebalance)
	switch {
	case wasEmpty:
		g.initial, g.memberAdded = true, false
		g.initialDelay = g.opts.InitialRebalanceDelay
		g.initialRemaining = max(g.rebalanceTimeout()-g.initialDelay, 0)
		g.joinAt = now.Add(g.initialDelay)
	case g.allJoined():
		g.completeJoin(now)
	default:
		g.initial = false
		g.joinAt = now.Add(g.rebalanceTimeout())
	}
}

// dropAssignments ends the sync phase without an assignment.
func (g *Group) dropAssignments(now time.Time, err *kerr.Error) {
	g.assignSeq, g.assigning = 0, nil
	for _, m := range g.members {
		m.assignment = nil
		if g.answerSync(m, SyncReply{Err: err}) {
			g.renew(now, m)
		}
	}
}

// allJoined says that nobody is missing, not even a member that has only got its id yet.
func (g *Group) allJoined() bool {
	for _, m := range g.members {
		if m.join == 0 {
			return false
		}
	}
	return len(g.pending) == 0
}

// maybeCompleteJoin ends the join phase once nobody is missing. The first rebalance of a group ends by time only.
func (g *Group) maybeCompleteJoin(now time.Time) {
	if g.state == PreparingRebalance && !g.initial && g.allJoined() {
		g.completeJoin(now)
	}
}

// joinTimeout is joinAt reached.
func (g *Group) joinTimeout(now time.Time) {
	g.joinAt = time.Time{}
	if g.initial && g.memberAdded && g.initialRemaining > 0 {
		g.memberAdded = false
		delay := min(g.opts.InitialRebalanceDelay, g.initialRemaining)
		g.initialRemaining = max(g.initialRemaining-g.initialDelay, 0)
		g.initialDelay = delay
		g.joinAt = now.Add(delay)
		return
	}
	g.completeJoin(now)
}

// completeJoin starts a new generation with the members that have joined, and with static members that have not: they
// stay until their session ends.
func (g *Group) completeJoin(now time.Time) {
	g.initial, g.joinAt = false, time.Time{}
	for _, id := range g.notJoined() {
		g.remove(id)
	}
	if len(g.members) == 0 {
		g.generation++
		g.protocol, g.leader = "", ""
		g.subscribed = g.subscriptions()
		g.transition(now, Empty)
		g.save(nil)
		return
	}
	if !g.electLeader() {
		// Only absent static members: wait until their sessions end or one of them joins.
		g.joinAt = now.Add(g.rebalanceTimeout())
		return
	}
	g.generation++
	g.protocol = g.selectProtocol()
	g.subscribed = g.subscriptions()
	g.transition(now, CompletingRebalance)
	g.assignSeq, g.assigning = 0, nil
	for _, m := range g.members {
		g.answerJoin(m, g.joined(m, m.join))
		g.renew(now, m)
		m.isNew, m.mustSync = false, true
	}
	g.syncAt = now.Add(g.rebalanceTimeout())
}

// notJoined are the dynamic members that did not join in time.
func (g *Group) notJoined() (ids []string) {
	for _, m := range g.members {
		if m.join == 0 && m.instanceID == "" {
			ids = append(ids, m.id)
		}
	}
	return ids
}

// electLeader makes sure that the leader is a member that has joined; false if none has.
func (g *Group) electLeader() bool {
	if l := g.byID[g.leader]; l != nil && l.join != 0 {
		return true
	}
	for _, m := range g.members {
		if m.join != 0 {
			g.leader = m.id
			return true
		}
	}
	return false
}
