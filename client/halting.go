package client

import (
	"context"
	"sync"
	"time"
)

// haltWait bounds how long a partition that halts waits for what is due in the others.
const haltWait = 30 * time.Second

// halting lets partitions end together: whoever ends a replica because one of its partitions has stopped is to have been told by then in which keys the
// others differ. Partitions that halt while one of them waits for the others wait with it.
type halting struct {
	moved notifier // a check has ended, a partition is followed, or has halted

	mu   sync.Mutex
	over chan struct{} // closed when the wait that is under way is over; nil: none is. Guarded by mu
}

// halt ends following for good, or that there is to be a state to be followed. It says so once nothing is due in any other partition any more.
func (p *partition) halt(ctx context.Context, why error) {
	failed := p.fail(ctx, why)
	if ctx.Err() != nil {
		return
	}
	p.r.reporter.event(Event{Kind: Stopped, Partition: p.no})
	p.r.halting.moved.notify()
	p.r.awaitChecks(ctx)
	p.r.event(Event{Kind: Stopped, Partition: p.no, Offset: failed.Offset, Err: failed})
}

// awaitChecks returns when every partition has halted, or has been compared at each key frame that is known of it now, and those keys of it are
// named that differ; when that takes too long, but for the naming; or when the replica closes.
func (r *Replica) awaitChecks(ctx context.Context) {
	h := &r.halting
	h.mu.Lock()
	over := h.over
	if over != nil {
		h.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
		}
		return
	}
	over = make(chan struct{})
	h.over = over
	h.mu.Unlock()
	r.awaitDue(ctx)
	h.mu.Lock()
	h.over = nil
	h.mu.Unlock()
	close(over)
}

// awaitDue waits for what is due.
func (r *Replica) awaitDue(ctx context.Context) {
	timer := time.NewTimer(r.cfg.haltWait)
	defer timer.Stop()
	r.learnOnce(ctx) // frames of other partitions that have been cut by now, and of which the stream is yet to tell
	upTo := make(map[int32]int64, len(r.numbers))
	for _, no := range r.numbers {
		upTo[no] = r.partitions[no].highestKnown()
	}
	for late := false; ; {
		moved := r.halting.moved.wait()
		waitsFor := int32(-1)
		for _, no := range r.numbers {
			if r.partitions[no].due(upTo[no], late) {
				waitsFor = no
				break
			}
		}
		if waitsFor < 0 {
			return
		}
		select {
		case <-moved:
		case <-timer.C:
			late = true
			r.cfg.Logger.Warn("replica: a partition that halts waits no longer for another to be compared", "topic", r.cfg.Topic, "partition", waitsFor)
		case <-ctx.Done():
			return
		}
	}
}

// highestKnown is the highest cut of a key frame that is known.
func (p *partition) highestKnown() (cut int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.known {
		cut = max(cut, f.Cut)
	}
	return cut
}

// due tells whether something is still to come of what is known of a partition: it is about to be followed, or compared at its position or at a cut
// that is not above upTo, or is being dealt with. late: whether keys are still to be named, since it differs.
func (p *partition) due(upTo int64, late bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return false
	case late:
		return p.unnamed
	case !p.following || len(p.restart) > 0 || p.checks.Load() > 0:
		return true
	}
	return len(p.pending) > 0 && p.pending[0].Cut <= upTo
}

// setUnnamed notes whether the state is known to differ, and in which keys is still to be said.
func (p *partition) setUnnamed(unnamed bool) {
	p.mu.Lock()
	p.unnamed = unnamed
	p.mu.Unlock()
	p.r.halting.moved.notify()
}

// checked notes that a check has ended that was counted in checks: what has come of it is known, and what follows from it has begun.
func (p *partition) checked() {
	p.checks.Add(-1)
	p.r.halting.moved.notify()
}
