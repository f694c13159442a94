package group

import (
	"time"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// RetainedFrom is the moment from which the retention of an offset counts (KIP-211); false while the group needs it.
// Offsets of a group with members stay while a member reads the topic; those of an empty group count from when it became
// empty; those of a group that never had members count from their commit.
func (g *Group) RetainedFrom(topic string, committed time.Time) (time.Time, bool) {
	switch {
	case g.protocolType == "":
		return committed, true
	case g.state == Empty:
		return g.stateSince, true
	case g.state == Stable && g.subscribed != nil:
		if _, ok := g.subscribed[topic]; !ok {
			return committed, true
		}
	}
	return time.Time{}, false
}

// Idle says that the group has no members and none that are about to join.
func (g *Group) Idle() bool { return g.state == Empty && len(g.pending) == 0 }

// sweepLocked drops offsets whose retention is over, and groups that have neither members nor offsets. A group that is
// written to at this moment is left for the next sweep.
func (c *Coordinator) sweepLocked(now time.Time) {
	for _, e := range c.entries {
		if e.group == nil || e.writing {
			continue
		}
		gone := c.expiredLocked(e, now)
		e.publish(gone)
		c.metrics.expired.Add(float64(len(gone)))
		switch {
		case e.group.Idle() && len(e.offsets) == 0 && len(e.pending) == 0:
			c.removeLocked(e, now, nil)
		case len(gone) > 0:
			c.enqueueLocked(e, write{commits: gone})
		}
	}
}

// expiredLocked are the tombstones of a group's offsets whose retention is over.
func (c *Coordinator) expiredLocked(e *entry, now time.Time) (gone []catalog.OffsetCommit) {
	for key, o := range e.offsets {
		if e.pending.has(key) {
			continue
		}
		from, ok := e.group.RetainedFrom(key.topic, time.UnixMilli(o.CommitMs))
		if ok && now.Sub(from) >= c.cfg.OffsetsRetention {
			gone = append(gone, catalog.OffsetCommit{Topic: key.topic, Partition: key.partition, Delete: true})
		}
	}
	return gone
}
