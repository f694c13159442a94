package txn

import (
	"container/heap"
	"time"
)

// timer is the place of a transactional id in the heap of deadlines. Guarded by Coordinator.mu.
type timer struct {
	entry *entry
	at    time.Time
	index int // -1: not in the heap
}

// timers is a heap of deadlines, the earliest first.
type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].index, t[j].index = i, j
}

// Push is for container/heap.
func (t *timers) Push(x any) {
	e := x.(*timer)
	e.index = len(*t)
	*t = append(*t, e)
}

// Pop is for container/heap.
func (t *timers) Pop() any {
	old := *t
	e := old[len(old)-1]
	old[len(old)-1] = nil
	*t = old[:len(old)-1]
	e.index = -1
	return e
}

// set gives a timer a deadline, zero for none, and says whether it is the earliest now.
func (t *timers) set(x *timer, at time.Time) bool {
	switch {
	case at.IsZero():
		if x.index >= 0 {
			heap.Remove(t, x.index)
		}
		return false
	case x.index < 0:
		x.at = at
		heap.Push(t, x)
	default:
		x.at = at
		heap.Fix(t, x.index)
	}
	return x.index == 0
}

// keepTime is the coordinator's only lasting goroutine: it steps the transactional ids whose deadlines have come.
func (c *Coordinator) keepTime() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		case <-t.C:
		}
		t.Reset(c.expire())
	}
}

// expire does what is due and returns how long there is nothing to do.
func (c *Coordinator) expire() time.Duration {
	for {
		now := c.cfg.Now()
		c.mu.Lock()
		if c.closed || len(c.timers) == 0 {
			c.mu.Unlock()
			return time.Hour
		}
		next := c.timers[0]
		if wait := next.at.Sub(now); wait > 0 {
			c.mu.Unlock()
			return wait
		}
		c.timers.set(next, time.Time{})
		c.mu.Unlock()
		c.tick(next.entry, now)
	}
}

// tick steps one transactional id. The lock of an entry comes before the coordinator's.
func (c *Coordinator) tick(e *entry, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deadline = time.Time{}
	if e.txn == nil || e.gone {
		return
	}
	before := e.txn.State()
	c.applyLocked(e, e.txn.Tick(now))
	switch {
	case before == Ongoing && e.txn.State() == PrepareAbort:
		c.metrics.timeouts.Inc()
		c.cfg.Logger.Info("transaction timed out", "transactional_id", e.id, "producer_id", e.txn.producer.ID, "epoch", e.txn.producer.Epoch,
			"timeout", e.txn.timeout)
	case e.txn.State() == Dead:
		c.cfg.Logger.Debug("transactional id expired", "transactional_id", e.id)
	}
}
