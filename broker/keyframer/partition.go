package keyframer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Partition is one partition that is folded.
type Partition struct {
	Index       int32
	Incarnation [16]byte // open may renew it, before anything else runs

	renewIncarnation func(context.Context) ([16]byte, error) // see PartitionSpec

	k          *Keyframer
	topic      *Topic
	ordinal    uint32
	log        Log
	logger     *slog.Logger
	steps      task // tail, fold, cut
	upkeep     task // thin, trim, expire
	unwatch    func()
	counts     partitionCounts
	rotten     atomic.Bool // rows are damaged on disk: nothing is trimmed any more
	unmendable atomic.Bool // and could not be folded again

	table *table.Table // set by open, before anything else runs; nil if that failed

	keep       upkeepState // owned by the upkeep task
	straddling straddling  // owned by the steps task

	retaining sync.Mutex      // taken before mu, and before the holds' own
	going     going           // guarded by retaining
	spoilt    map[int64]int64 // guarded by retaining; by cut: what changed since here, or since an earlier offset, cannot be read

	mu sync.Mutex // guards the rest
	// live is set by open, before anything else runs; nil if that failed, and again from discard on. The steps task alone discards, and never
	// while it does something else: what it does needs no lock to use live.
	live *live.Partition
	// failure is why the partition cannot be folded until it is opened again; stopped is why it is gone.
	failure, stopped error
	folding          chan struct{} // not nil while a fold is under way; closed at its end
	expiring         bool          // rows leave at its cut
	stuck            int64         // a cut here did not move the table's start, and would not again
	full             bool          // memory wants a fold
	retryMs          int64
	retries          int
	lastCut          int64         // newest frame's cut, or -1
	lastCutMs        int64         // its time; also of one that is being cut, or is due
	due              []table.Frame // to be cut again, ascending; see cutAgain
	since, cutting   interval
	held, preparing  bool // see situation
	request          *request
	waiters          []waiter
	watchers         map[*watcher]struct{}
	behindMs         int64 // since when deltas wait to be applied; 0: none do
}

type waiter struct {
	offset int64
	done   chan error
}

func newPartition(k *Keyframer, t *Topic, spec PartitionSpec) *Partition {
	p := &Partition{
		Index: spec.Index, Incarnation: spec.Incarnation, k: k, topic: t, ordinal: spec.Ordinal, log: spec.Log, lastCut: -1, stuck: -1,
		renewIncarnation: spec.RenewIncarnation,
		logger:           k.cfg.Logger.With("topic", t.Name, "partition", spec.Index),
	}
	p.steps.step, p.upkeep.step = p.step, p.maintain
	return p
}

// start begins the work of a partition that open has opened.
func (p *Partition) start() {
	p.k.memory.join(p)
	p.unwatch = p.log.Watch(func() { p.k.steps.add(&p.steps) })
	p.wake()
}

func (p *Partition) wake() {
	p.k.steps.add(&p.steps)
	p.k.upkeep.add(&p.upkeep)
}

// stop ends the partition; wait returns when nothing touches it any more.
func (p *Partition) stop(why error) {
	if p.unwatch != nil {
		p.unwatch()
	}
	p.k.steps.remove(&p.steps)
	p.k.upkeep.remove(&p.upkeep)
	p.mu.Lock()
	p.stopped = why
	p.releaseLocked(why)
	p.mu.Unlock()
}

func (p *Partition) wait() {
	<-p.k.steps.remove(&p.steps)
	<-p.k.upkeep.remove(&p.upkeep)
	p.mu.Lock()
	folding := p.folding
	p.mu.Unlock()
	if folding != nil {
		<-folding
	}
}

// fail ends folding until the partition is opened again. What was folded stays readable.
func (p *Partition) fail(err error) {
	err = fmt.Errorf("%w: %s/%d: %w", ErrFailed, p.topic.Name, p.Index, err)
	p.logger.Error("this partition is not folded any more", "error", err)
	p.mu.Lock()
	p.failure = err
	p.releaseLocked(err)
	p.mu.Unlock()
	p.k.steps.add(&p.steps) // to discard
	p.topic.notify()
}

// discard lets go of what a failed partition holds in memory, unless a fold is still at work on it: that fold's end comes back here. Only
// then is the memory somebody else's.
func (p *Partition) discard() {
	p.mu.Lock()
	if p.failure == nil || p.folding != nil || p.live == nil {
		p.mu.Unlock()
		return
	}
	p.live = nil
	p.mu.Unlock()
	p.k.memory.forget(p)
	p.k.memory.update(p) // others may have to fold in its place
	p.k.memory.release(p.k.steps)
}

// releaseLocked answers everybody who waits.
func (p *Partition) releaseLocked(err error) {
	for _, w := range p.waiters {
		w.done <- err
	}
	p.waiters = nil
	p.changedLocked()
	if p.request != nil {
		p.request.err = err
		close(p.request.done)
		p.request = nil
	}
}

// Failure is why the partition cannot be folded, or nil.
func (p *Partition) Failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

func (p *Partition) errLocked() error {
	if p.stopped != nil {
		return p.stopped
	}
	return p.failure
}

// Live returns the partition's state, which reads through the open interval. Errors: ErrFailed, ErrUnknownTopic,
// ErrClosed.
func (p *Partition) Live() (*live.Partition, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.errLocked(); err != nil {
		return nil, err
	}
	return p.live, nil
}

// Table returns the folded table, also of a partition whose deltas cannot be folded any more.
func (p *Partition) Table() (*table.Table, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		return nil, p.stopped
	}
	if p.table == nil {
		return nil, p.failure
	}
	return p.table, nil
}

// Bounds returns the bounds of the partition's log.
func (p *Partition) Bounds() log.Bounds { return p.log.Bounds() }

// Log returns the partition's log.
func (p *Partition) Log() Log { return p.log }

// Position is the end of what is applied; of a failed partition, of what is folded.
func (p *Partition) Position() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.positionLocked()
}

func (p *Partition) positionLocked() int64 {
	switch {
	case p.live != nil:
		return p.live.Position()
	case p.table != nil:
		return p.table.Position()
	}
	return 0
}

// intervalBytes is the memory that the partition's intervals take.
func (p *Partition) intervalBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.live == nil {
		return 0
	}
	return p.live.IntervalBytes()
}

// WaitApplied waits until everything below offset is applied. Errors: ctx's, or as Live.
func (p *Partition) WaitApplied(ctx context.Context, offset int64) error {
	p.mu.Lock()
	if err := p.errLocked(); err != nil {
		p.mu.Unlock()
		return err
	}
	if p.live.Position() >= offset {
		p.mu.Unlock()
		return nil
	}
	w := waiter{offset: offset, done: make(chan error, 1)}
	p.waiters = append(p.waiters, w)
	p.mu.Unlock()
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		p.forget(w)
		return ctx.Err()
	}
}

func (p *Partition) forget(w waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.waiters {
		if p.waiters[i].done == w.done {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			return
		}
	}
}

// appliedLocked answers those who waited for the position.
func (p *Partition) appliedLocked(position int64) {
	kept := p.waiters[:0]
	for _, w := range p.waiters {
		if w.offset <= position {
			w.done <- nil
		} else {
			kept = append(kept, w)
		}
	}
	clear(p.waiters[len(kept):])
	p.waiters = kept
	p.changedLocked()
}

// Failures lists why partitions are not folded.
func (k *Keyframer) Failures() (failures []error) {
	for _, t := range *k.topics.Load() {
		for _, p := range t.Partitions() {
			if err := p.Failure(); err != nil {
				failures = append(failures, err)
			}
		}
	}
	return failures
}
