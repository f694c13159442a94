package group

import "time"

// setTimerLocked brings the group's deadline up to date and says whether it is now the earliest.
func (c *Coordinator) setTimerLocked(e *entry) (earliest bool) {
	at, ok := e.group.Deadline()
	if !ok {
		at = time.Time{}
	}
	return c.timers.Set(&e.timer, at)
}

// expire steps the groups whose deadlines have come, sweeps, and returns how long there is nothing to do.
func (c *Coordinator) expire() time.Duration {
	var out outbox
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return time.Hour
	}
	now := c.cfg.Now()
	for e, at, ok := c.timers.First(); ok && !at.After(now); e, at, ok = c.timers.First() {
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
	if _, at, ok := c.timers.First(); ok && at.Before(next) {
		next = at
	}
	c.mu.Unlock()
	out.deliver()
	return max(next.Sub(now), 0)
}
