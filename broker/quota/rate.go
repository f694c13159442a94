package quota

import (
	"math"
	"time"
)

const (
	// windows are how many of them count, the current one included (Kafka's quota.window.num).
	windows = 11
	// windowMs is how long one is (quota.window.size.seconds).
	windowMs = 1000
)

// Rate is what came in the last windows. The zero value is one of nothing.
type Rate struct {
	samples [windows]sample
	current int
}

// sample is one window. It begins with what is recorded first.
type sample struct {
	startMs, lastMs int64
	sum             float64
	used            bool
}

// Record adds a value; a negative one takes a value back.
func (r *Rate) Record(value float64, nowMs int64) {
	s := &r.samples[r.current]
	if s.used && nowMs-s.startMs >= windowMs {
		r.current = (r.current + 1) % windows
		s = &r.samples[r.current]
		*s = sample{}
	}
	if !s.used {
		*s = sample{startMs: nowMs, used: true}
	}
	s.sum += value
	s.lastMs = nowMs
}

// PerSecond is the rate at a moment, and the time that it is taken over.
func (r *Rate) PerSecond(nowMs int64) (rate float64, overMs int64) {
	sum, oldest := 0.0, nowMs
	for i := range r.samples {
		s := &r.samples[i]
		if !s.used || nowMs-s.lastMs >= windows*windowMs {
			continue
		}
		sum += s.sum
		oldest = min(oldest, s.startMs)
	}
	// What was counted for a moment only is taken over the time of all windows but one, or a first burst would be a rate.
	overMs = nowMs - oldest
	if full := overMs / windowMs; full < windows-1 {
		overMs += (windows - 1 - full) * windowMs
	}
	return sum * 1000 / float64(overMs), overMs
}

// Wait is how long nothing may come until the rate is at its bound.
func (r *Rate) Wait(bound float64, nowMs int64) time.Duration {
	rate, overMs := r.PerSecond(nowMs)
	if rate <= bound {
		return 0
	}
	return waitOf((rate - bound) / bound * float64(overMs))
}

// waitMax keeps a wait in an int32 of milliseconds, as answers carry it.
const waitMax = math.MaxInt32 * time.Millisecond

// waitOf rounds milliseconds as Kafka does.
func waitOf(ms float64) time.Duration {
	if !(ms < math.MaxInt32) {
		return waitMax
	}
	return time.Duration(math.Round(ms)) * time.Millisecond
}
