package keyframer

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// upkeepState is what the upkeep task of a partition remembers.
type upkeepState struct {
	// stopped: a frame's rows did not hash to its digest. Nothing is trimmed before the partition is opened again.
	stopped bool
	rows    rowBytes
	// settleMs: Settle has failed so many times, and is not tried again before.
	settleMs      int64
	settleRetries int
}

const (
	// expireEveryMs is how often tombstones are looked at, at most and at least.
	expireEveryMinMs = 1000
	expireEveryMaxMs = 10 * 60 * 1000
	// heldEveryMs is how often a trim that is held up is tried again.
	heldEveryMs = 1000
	// upkeepRetryMs is when upkeep that failed is tried again.
	upkeepRetryMs = 5000
	// settleRetryMaxMs: a Settle that fails is tried again after upkeepRetryMs, then twice that, up to this.
	settleRetryMaxMs = 10 * 60 * 1000
)

// maintain does one step of upkeep: move the log start, thin a frame, trim to a frame, settle what was superseded, expire tombstones. It runs in one worker at
// a time, of all partitions.
func (p *Partition) maintain(ctx context.Context) (again bool, wakeMs int64) {
	p.mu.Lock()
	ok := p.errLocked() == nil
	p.mu.Unlock()
	if !ok || p.keep.stopped || p.rotten.Load() {
		return false, 0
	}
	again, wakeMs, err := p.maintainOnce(ctx)
	if err == nil {
		return again, wakeMs
	}
	switch {
	case ctx.Err() != nil || errors.Is(err, log.ErrClosed) || errors.Is(err, table.ErrClosed):
		return false, 0
	case isDamage(err):
		p.keep.stopped = true
		p.counts.verifyFailed.Add(1)
		_ = p.Damaged(err) // which tells of it
		return false, 0
	default:
		p.logger.Error("upkeep failed and is tried again", "error", err)
		return false, p.k.nowMs() + upkeepRetryMs
	}
}

func (p *Partition) maintainOnce(ctx context.Context) (again bool, wakeMs int64, err error) {
	nowMs, settings := p.k.nowMs(), p.topic.Settings()
	retainMs, err := p.retain(ctx, settings, nowMs)
	if settings.Paused || err != nil {
		return false, retainMs, err
	}
	h, err := p.holdings(ctx)
	if err != nil {
		return false, 0, err
	}
	if h.behind() {
		return true, 0, p.trimTable(ctx, h.deltaStart)
	}
	due, trimMs, err := trimTarget(&h, settings, nowMs)
	if err != nil {
		return false, 0, err
	}
	target, err := p.trimmableTo(ctx, &h, due)
	if err != nil {
		return false, 0, err
	}
	if target >= 0 {
		return true, 0, p.trim(ctx, target)
	}
	if due >= 0 {
		trimMs = nowMs + heldEveryMs
	}
	if cut := thinTarget(h.frames, settings.Retain, p.holds().cuts); cut >= 0 {
		return true, 0, p.thin(ctx, cut)
	}
	settled, settleMs, err := p.settle(ctx, nowMs) // when frames that do not stay have gone
	if settled || err != nil {
		return settled, 0, err
	}
	expireMs, err := p.expire(ctx, settings, nowMs, h.deltaStart)
	if err == nil && settleMs == 0 && p.table.SettleDue() {
		return true, 0, nil // tombstones have gone
	}
	return false, earliest(earliest(trimMs, expireMs), earliest(retainMs, settleMs)), err
}

// trimmableTo lowers a trim that is due to what is held; -1: it has to wait. Those who hold it up are told: they may hold too much.
func (p *Partition) trimmableTo(ctx context.Context, h *holdings, due int64) (cut int64, err error) {
	if due < 0 || due <= p.holds().from {
		return due, nil
	}
	if err := p.k.cfg.Holds.HeldBack(ctx, p.topic.ID, p.Index); err != nil {
		return -1, fmt.Errorf("a trim to %d is held up: %w", due, err)
	}
	return h.below(min(due, p.holds().from)), nil
}

// thin drops one frame.
func (p *Partition) thin(ctx context.Context, cut int64) error {
	done, ok := p.letGo(going{thin: cut, thins: true})
	if !ok {
		return nil // it is held since: look again
	}
	defer done()
	if err := p.table.Thin(ctx, cut); err != nil {
		return fmt.Errorf("thin the frame at %d: %w", cut, err)
	}
	p.topic.notify()
	return nil
}

// settle keeps the newest frame readable at the cost of its rows, if that is due. It reads and writes much, so where it fails it waits longer each time, and
// nothing else waits for it.
func (p *Partition) settle(ctx context.Context, nowMs int64) (done bool, againMs int64, err error) {
	k := &p.keep
	if !p.table.SettleDue() {
		return false, 0, nil
	}
	if nowMs < k.settleMs {
		return false, k.settleMs, nil
	}
	err = p.table.Settle(ctx)
	switch {
	case err == nil:
		k.settleMs, k.settleRetries = 0, 0
		return true, 0, nil
	case ctx.Err() != nil || errors.Is(err, table.ErrClosed) || isDamage(err):
		return false, 0, fmt.Errorf("settle what was superseded: %w", err)
	}
	p.logger.Error("what was superseded could not be settled, and that is tried again", "attempt", k.settleRetries, "error", err)
	k.settleMs = p.k.nowMs() + min(int64(upkeepRetryMs)<<min(k.settleRetries, 10), settleRetryMaxMs)
	k.settleRetries++
	return false, k.settleMs, nil
}

// holdings reads what retention depends on.
func (p *Partition) holdings(ctx context.Context) (h holdings, err error) {
	b := p.log.Bounds()
	h = holdings{
		frames: p.table.Frames(), deltaBytes: p.log.SizeBytes(), deltaStart: b.DeltaStart, logStart: b.LogStart,
		bytesFrom: func(offset int64) (int64, error) { return p.log.BytesFrom(ctx, offset) },
	}
	if b.LastStable > b.DeltaStart {
		last, err := p.log.Batches(b.LastStable-1, b.LastStable, 1)
		if err != nil {
			return h, fmt.Errorf("read the last batch: %w", err)
		}
		if len(last) > 0 {
			h.lastBatch = last[0].BaseOffset()
		}
	}
	return h, nil
}

// trim moves the delta start offset to the frame at cut, unless that is held by the time the frame has been read back. The order is what makes it safe, see the
// package doc.
func (p *Partition) trim(ctx context.Context, cut int64) error {
	start := p.k.cfg.Now()
	if _, err := p.table.Verify(ctx, cut); err != nil {
		return fmt.Errorf("read the frame at %d back: %w", cut, err)
	}
	verified := p.k.cfg.Now()
	done, ok := p.letGo(going{trim: cut})
	if !ok {
		return nil // something of it is held since: look again
	}
	defer done()
	if err := p.log.TrimTo(ctx, cut); err != nil {
		return fmt.Errorf("trim the log to %d: %w", cut, err)
	}
	err := p.trimTable(ctx, cut)
	if err != nil && !errors.Is(err, table.ErrTrimmed) {
		return err
	}
	p.counts.trims.Add(1)
	p.k.metrics.verifySeconds.Observe(verified.Sub(start).Seconds())
	p.logger.Info("trimmed", "delta_start", cut, "verify", verified.Sub(start), "trim", p.k.cfg.Now().Sub(verified))
	p.topic.notify()
	return err
}

// trimTable is the second half of a trim. Where it fails, unless with table.ErrTrimmed, or a crash comes between the halves, it is done before anything else: the
// frame at the delta start offset is the only copy of the rows below it, and thinning spares the oldest frame alone.
func (p *Partition) trimTable(ctx context.Context, cut int64) error {
	if err := p.table.Trim(ctx, cut); err != nil {
		return fmt.Errorf("trim the table to %d: %w", cut, err)
	}
	return nil
}

// expire drops tombstones whose deltas were trimmed long enough ago, and returns when to look again.
func (p *Partition) expire(ctx context.Context, s *Settings, nowMs, deltaStart int64) (int64, error) {
	if s.DeleteRetentionMs < 0 || deltaStart == 0 {
		return 0, nil
	}
	n, err := p.expireBelow(ctx, p.table.Expirable(nowMs-s.DeleteRetentionMs))
	if err != nil {
		return 0, fmt.Errorf("expire tombstones: %w", err)
	}
	if n > 0 {
		p.logger.Debug("tombstones expired", "count", n, "horizon", p.table.Horizon())
	}
	if p.table.Horizon() >= deltaStart {
		return 0, nil // none are left below the delta start offset
	}
	return nowMs + min(max(s.DeleteRetentionMs/8, expireEveryMinMs), expireEveryMaxMs), nil
}

// expireBelow lets those tombstones go that nobody holds.
func (p *Partition) expireBelow(ctx context.Context, limit int64) (removed int, err error) {
	limit = min(limit, p.holds().since)
	done, ok := p.letGo(going{horizon: limit})
	if !ok || limit <= 0 {
		return 0, nil // what is held since is looked at when the next tombstones are
	}
	defer done()
	return p.table.ExpireBelow(ctx, limit)
}

// earliest returns the earlier of two times, of which 0 is never.
func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
