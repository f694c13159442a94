package group

import (
	"container/heap"
	"time"
)

// timer is the place of a group in the heap of deadlines.
type timer struct {
	entry *entry
	at    time.Time
	index int // -1: not in the heap
}

// timers is a heap of the groups' deadlines, the earliest first.
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

// set brings the entry's deadline up to date and says whether it is now the earliest.
func (t *timers) set(e *entry) (earliest bool) {
	at, ok := e.group.Deadline()
	if !ok {
		t.remove(e)
		return false
	}
	e.timer.at = at
	if e.timer.index < 0 {
		heap.Push(t, &e.timer)
	} else {
		heap.Fix(t, e.timer.index)
	}
	return e.timer.index == 0
}

func (t *timers) remove(e *entry) {
	if e.timer.index >= 0 {
		heap.Remove(t, e.timer.index)
	}
}

// wakeTimer tells the timer goroutine that the earliest deadline has changed.
func (c *Coordinator) wakeTimer() {
	select {
	case c.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// keepTime is the coordinator's only lasting goroutine: it steps the groups whose deadlines have come, and sweeps.
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
	var out outbox
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return time.Hour
	}
	now := c.cfg.Now()
	for len(c.timers) > 0 && !c.timers[0].at.After(now) {
		e := c.timers[0].entry
		if g := e.consumer(); g != nil {
			c.tickLocked(e, g, now, &out)
		} else {
			c.stepLocked(e, e.classic(), now, func(g *Group) Effects { return g.Tick(now) }, &out)
		}
	}
	if !c.sweepAt.After(now) {
		c.sweepLocked(now)
		c.sweepAt = now.Add(c.cfg.RetentionCheck)
	}
	next := c.sweepAt
	if len(c.timers) > 0 && c.timers[0].at.Before(next) {
		next = c.timers[0].at
	}
	c.mu.Unlock()
	out.deliver()
	return max(next.Sub(now), 0)
}
