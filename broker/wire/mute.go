package wire

import "time"

// mute has nothing read from the connection for a time.
func (c *Conn) mute(d time.Duration) {
	if d <= 0 {
		return
	}
	until := time.Now().Add(d).UnixNano()
	for {
		old := c.muted.Load()
		if until <= old || c.muted.CompareAndSwap(old, until) {
			return
		}
	}
}

// awaitUnmuted waits, with a request at hand, until it may be read. The peer's end is not noticed before. A connection that is muted
// for longer than one may be idle is closed, as an idle one: its client has long given up.
func (c *Conn) awaitUnmuted() error {
	left := time.Until(time.Unix(0, c.muted.Load()))
	if c.muted.Load() == 0 || left <= 0 {
		return nil
	}
	idle := c.s.cfg.IdleTimeout
	if err := c.hold(min(left, idle)); err != nil {
		return err
	}
	if left > idle {
		return errIdle
	}
	return c.awaitUnmuted() // an answer may have muted it for longer
}

// hold waits, unless connection or server end.
func (c *Conn) hold(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.s.draining:
		return errDraining
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}
