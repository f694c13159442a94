package log

import (
	"context"
)

// Appended is the answer to one append.
type Appended struct {
	BaseOffset   int64
	LastOffset   int64 // inclusive
	LogStart     int64
	AppendTimeMs int64 // broker clock, Unix milliseconds, monotone in a partition
	Duplicate    bool  // the batch is one of its producer's last five: nothing was written, the offsets are the original's
	// Refused is why a foreign marker was not written to some of its partitions.
	Refused []*SequenceError

	done *completion
}

type completion struct {
	ch  chan struct{}
	err error // set before ch is closed
}

// Done is closed when the batch is durable or has failed: see Err.
func (a *Appended) Done() <-chan struct{} { return a.done.ch }

// Err is why the batch did not become durable. Only valid after Done is closed.
func (a *Appended) Err() error { return a.done.err }

// Wait returns when the batch is durable (nil), has failed, or ctx is done.
func (a *Appended) Wait(ctx context.Context) error {
	select {
	case <-a.done.ch:
		return a.done.err
	default:
	}
	select {
	case <-a.done.ch:
		return a.done.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
