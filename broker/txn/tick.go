package txn

import (
	"time"
)

// Deadline is when Tick is to be called, if no other step comes before; false: nothing is timed.
func (x *Txn) Deadline() (at time.Time, ok bool) {
	switch {
	case x.state == Ongoing:
		return x.start.Add(x.timeout), true
	case x.state.ended() && x.producer.Epoch >= 0:
		return x.updated.Add(x.expiration), true
	}
	return time.Time{}, false
}

// Tick does what is due at now: a transaction that takes longer than its time-out is aborted and its producer fenced; a transactional
// id that was not used for long is forgotten.
func (x *Txn) Tick(now time.Time) Effects {
	at, ok := x.Deadline()
	if !ok || at.After(now) {
		return Effects{}
	}
	if x.state == Ongoing {
		x.fence(now)
	} else {
		x.state = Dead
		x.fx.Remove = true
	}
	return x.take()
}
