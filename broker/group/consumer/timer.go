package consumer

import (
	"time"
)

// Deadline is when Tick is to be called, if no other step comes before; false: nothing is timed.
func (g *Group) Deadline() (at time.Time, ok bool) {
	at, _ = g.due()
	return at, !at.IsZero()
}

// due is the member with the earliest timer. Whatever a member is late with, it is removed: its partitions go to others.
func (g *Group) due() (at time.Time, late *member) {
	if g.dead {
		return at, nil
	}
	for _, m := range g.members {
		for _, t := range [...]time.Time{m.expires, m.revokeBy, m.joinBy, m.syncBy} {
			if !t.IsZero() && (at.IsZero() || t.Before(at)) {
				at, late = t, m
			}
		}
	}
	return at, late
}

// Tick removes the members that are late at now.
func (g *Group) Tick(now time.Time) Effects {
	late := false
	for {
		at, m := g.due()
		if m == nil || at.After(now) {
			break
		}
		g.remove(now, m)
		late = true
	}
	if late {
		g.membersLeft()
	}
	return g.take()
}
