package txn

import "time"

// expire steps the transactional ids whose deadlines have come and returns how long there is nothing to do.
func (c *Coordinator) expire() time.Duration {
	for {
		now := c.cfg.Now()
		c.mu.Lock()
		e, at, ok := c.timers.First()
		if c.closed || !ok || c.timersWaitLocked() {
			c.mu.Unlock()
			return time.Hour
		}
		if wait := at.Sub(now); wait > 0 {
			c.mu.Unlock()
			return wait
		}
		c.timers.Remove(&e.timer)
		c.mu.Unlock()
		c.tick(e, now)
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
