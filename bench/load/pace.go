package load

import (
	"context"
	"time"
)

// Pace says when work that is done at a rate is due, however long the former took.
type Pace struct {
	Began time.Time
	Rate  float64 // a second; 0: all is due at once
}

// Due is when the piece of work of that number, counted from 0, is due.
func (p Pace) Due(n int64) time.Time {
	if p.Rate <= 0 {
		return p.Began
	}
	return p.Began.Add(time.Duration(float64(n) / p.Rate * float64(time.Second)))
}

// grain is the shortest wait: what is due sooner goes at once. It bounds how early a piece of work may go.
const grain = 500 * time.Microsecond

// Wait returns when the piece of work of that number is due. Errors: the context's.
func (p Pace) Wait(ctx context.Context, n int64) error {
	wait := time.Until(p.Due(n))
	if p.Rate <= 0 || wait < grain {
		return ctx.Err()
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
