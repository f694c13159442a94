package keyframer

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
)

// stepBytes is about how much of the log one step applies, so that partitions take turns.
const stepBytes = 1 << 20

// step does the next thing for the partition, whatever it is. It runs in one worker at a time.
func (p *Partition) step(ctx context.Context) (again bool, wakeMs int64) {
	s, ok := p.situation()
	if !ok {
		p.discard()
		return false, 0
	}
	switch a := decide(&s); a.kind {
	case doApply:
		err := p.apply(&s, a.end)
		if errors.Is(err, log.ErrClosed) {
			return false, 0 // the partition is about to be removed, or the process stops
		}
		if err != nil {
			p.failFor(err)
		}
		return err == nil, 0
	case doFold:
		if a.cut || !p.reclaim() {
			p.startFold(a)
		}
		return true, 0
	case doAnswer:
		p.answer()
		return true, 0
	default:
		return false, a.wakeMs
	}
}

// reclaim gives memory back without a fold, if much of what the partition holds was replaced since.
func (p *Partition) reclaim() bool {
	if !p.live.Reclaim() {
		return false
	}
	p.mu.Lock()
	p.full = false
	p.mu.Unlock()
	p.k.memory.folded(p)
	p.k.memory.release(p.k.steps)
	return true
}

// situation collects what decide needs; false if the partition is not folded.
func (p *Partition) situation() (situation, bool) {
	nowMs, bounds := p.k.nowMs(), p.log.Bounds()
	throttled := p.k.memory.exhausted(p)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.errLocked() != nil {
		return situation{}, false
	}
	s := situation{
		nowMs: nowMs, position: p.live.Position(), lastStable: bounds.LastStable, lastCut: p.lastCut, since: p.since,
		start: p.table.Start(), stuck: p.stuck == p.live.Position(), logStart: bounds.LogStart,
		folding: p.folding != nil, expiring: p.expiring, full: p.full, throttled: throttled, retryMs: p.retryMs,
		straddled: p.straddling.any(), held: p.held, preparing: p.preparing, request: p.request, limits: *p.topic.Settings(),
	}
	s.paused = s.limits.Paused
	s.limits.IntervalMs = s.limits.intervalMs()
	s.due = p.nextDueLocked(s.position)
	p.lagLocked(&s)
	return s, true
}

// lagLocked notes since when the partition has been behind.
func (p *Partition) lagLocked(s *situation) {
	switch {
	case s.position >= s.lastStable || s.paused:
		p.behindMs = 0
	case p.behindMs == 0:
		p.behindMs = s.nowMs
	}
}

// apply reads batches of [position, end) and applies them until the interval reaches its limit.
func (p *Partition) apply(s *situation, end int64) error {
	from := s.position
	batches, err := p.log.Batches(from, end, stepBytes)
	if err != nil {
		return fmt.Errorf("read the log at offset %d: %w", from, err)
	}
	if len(batches) == 0 {
		return nil
	}
	aborted, err := p.log.Aborted(from, batches[len(batches)-1].NextOffset())
	if err != nil {
		return fmt.Errorf("aborted transactions from offset %d on: %w", from, err)
	}
	for _, b := range batches {
		if b.NextOffset() > end {
			return fmt.Errorf("the batch at offset %d ends at %d, beyond the committed end %d", b.BaseOffset(), b.NextOffset(), end)
		}
		if done, err := p.applyBatch(s, b, log.IsAborted(aborted, b)); done || err != nil {
			return err
		}
	}
	return nil
}

// applyBatch applies one batch, or only passes it if its transaction was aborted; done: look at the situation again before the next one.
func (p *Partition) applyBatch(s *situation, b batch.Batch, aborted bool) (done bool, err error) {
	if aborted {
		err = p.live.Skip(b)
	} else {
		err = p.live.Apply(b)
	}
	if errors.Is(err, live.ErrFull) {
		p.mu.Lock()
		p.full = true
		p.mu.Unlock()
		return true, nil
	}
	if err != nil {
		return true, fmt.Errorf("apply the batch at offset %d: %w", b.BaseOffset(), err)
	}
	p.straddling.pass(b)
	s.straddled = p.straddling.any()
	p.mu.Lock()
	if changes := !aborted && !b.IsControl(); changes || p.since.firstMs != 0 {
		grown := interval{bytes: int64(len(b)), firstMs: s.nowMs} // a seek has to read it, whether it changes anything or not
		if changes {
			grown.records = int64(b.NumRecords())
		}
		p.since = p.since.plus(grown)
	}
	s.since, s.position = p.since, p.live.Position()
	p.appliedLocked(s.position)
	full := p.full
	p.mu.Unlock()
	return p.k.memory.update(p) || full || s.reached(), nil
}

// answer completes a request whose frame is there already.
func (p *Partition) answer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.request != nil {
		p.answerLocked()
	}
}

// answerLocked completes the request, whose frame is there. The frame may be older than the request's cut, even one that was under way
// when the request came: the next frame is later than the cut all the same, so that it does not count as one of the cut's.
func (p *Partition) answerLocked() {
	p.lastCutMs = max(p.lastCutMs, p.request.timeMs)
	close(p.request.done)
	p.request = nil
}
