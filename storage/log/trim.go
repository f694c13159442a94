package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// TrimTo moves the delta start offset up and deletes the raw batches that lie wholly below it, durably and in one Pebble
// batch. The batch with the last offset always stays, so the delta start ends at its base offset at the highest. Moving down
// does nothing. The caller has made durable whatever is to replace the deltas. Trim in coarse steps (megabytes): each one
// is a sync and a range tombstone.
// Errors: *OffsetRangeError above the last stable offset, ErrClosed, *CorruptError, the context's.
func (p *Partition) TrimTo(ctx context.Context, deltaStart int64) error {
	end := func(s state) int64 { return s.bounds.LastStable }
	return p.advance(ctx, deltaStart, end, func(s state) (logStart, start int64) {
		return s.bounds.LogStart, min(deltaStart, s.lastBase)
	})
}

// SetLogStart moves the log start offset up, as retention and DeleteRecords do: what is below is not readable any more, as
// raw deltas or otherwise. The delta start moves with it, and what lies wholly below is deleted as by TrimTo. It may pass an open
// transaction's records, as DeleteRecords does in Kafka: the last stable offset goes with it.
// Errors: TrimTo's, but the range ends at the high watermark.
func (p *Partition) SetLogStart(ctx context.Context, offset int64) error {
	end := func(s state) int64 { return s.bounds.HighWatermark }
	return p.advance(ctx, offset, end, func(s state) (logStart, start int64) {
		logStart = max(s.bounds.LogStart, offset)
		return logStart, logStart
	})
}

// HideBelow moves the log start offset up and leaves the delta start where it is: consumers get nothing below any more, but Batches
// still has the deltas, from which the state is folded until a key frame above has let go of what lies below. TrimTo takes them then. It
// stops at the last stable offset: whether the records of an open transaction will be folded is not known.
// Errors: TrimTo's, but the range ends at the high watermark.
func (p *Partition) HideBelow(ctx context.Context, offset int64) error {
	end := func(s state) int64 { return s.bounds.HighWatermark }
	return p.advance(ctx, offset, end, func(s state) (logStart, start int64) {
		return max(s.bounds.LogStart, min(offset, s.bounds.LastStable)), s.bounds.DeltaStart
	})
}

// advance is the one way in which bounds move up. end says how far at most, target where to, from the state under the lock.
func (p *Partition) advance(ctx context.Context, offset int64, end func(state) int64, target func(state) (logStart, deltaStart int64)) error {
	old, leave, err := p.enterTrim(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if end := end(old); offset > end {
		return &OffsetRangeError{Partition: p.id, Offset: offset, LogStart: old.bounds.LogStart, LogEnd: end}
	}
	logStart, deltaStart := target(old)
	deltaStart = max(deltaStart, old.bounds.DeltaStart)
	if logStart == old.bounds.LogStart && deltaStart == old.bounds.DeltaStart {
		return nil
	}
	cut, err := p.cutAt(min(deltaStart, old.lastBase))
	if err != nil {
		return err
	}
	pb := p.store.db.NewBatch()
	defer pb.Close()
	p.encodeTrim(pb, cut, keys.Part{Incarnation: p.incarnation, LogStart: logStart, DeltaStart: deltaStart, BytesBefore: cut.bytesBefore})

	// Readers are told before the data goes: one that comes too late gets ErrTrimmed and not a hole.
	p.mu.Lock()
	p.state.bounds.LogStart, p.state.bounds.DeltaStart = logStart, deltaStart
	p.state.bytesBefore = cut.bytesBefore
	p.moveStableLocked()
	p.mu.Unlock()
	if err := p.store.db.Apply(pb, pebble.Sync); err != nil {
		return p.wrap(fmt.Errorf("trim: %w", err)) // Pebble has called Fatal: the process is ending
	}
	p.store.stats.trims.Add(1)
	p.store.compactor.trimmed(cut.bytesBefore - old.bytesBefore)
	p.notify()
	return nil
}

// enterTrim keeps trims, and a drop, out until leave is called, and returns the state of the moment.
func (p *Partition) enterTrim(ctx context.Context) (old state, leave func(), err error) {
	select {
	case p.trimming <- struct{}{}:
	case <-ctx.Done():
		return old, nil, ctx.Err()
	}
	if err := p.store.enter(); err != nil {
		<-p.trimming
		return old, nil, p.wrap(err)
	}
	leave = func() {
		p.store.uses.Done()
		<-p.trimming
	}
	p.mu.Lock()
	old, closed := p.state, p.closed
	p.mu.Unlock()
	if closed {
		leave()
		return old, nil, p.wrap(ErrClosed)
	}
	return old, leave, nil
}

// BytesFrom returns the size of the raw batches that end above the offset, as far as they are readable: what a trim to it would
// leave. It costs two seeks, and a step for each batch that was appended within one millisecond.
// Errors: ErrClosed, *CorruptError, the context's.
func (p *Partition) BytesFrom(ctx context.Context, offset int64) (int64, error) {
	now, leave, err := p.enterTrim(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if offset = max(offset, now.bounds.DeltaStart); offset >= now.bounds.HighWatermark {
		return 0, nil
	}
	cut, err := p.cutAt(offset)
	if err != nil {
		return 0, err
	}
	return now.bytesEnd - cut.bytesBefore, nil
}

// trimCut is where a trim cuts: everything below base goes.
type trimCut struct {
	first       int64 // offset of the first batch that is still there
	base        int64 // base offset of the batch that contains the new delta start
	timeBase    int64 // offset of the time index entry below it, or at it if there is none below
	bytesBefore int64 // bytes of all batches ever below base
}

// cutAt finds the batch that contains the offset, and the bytes below it: from the time index entry below it, and the
// batches between the two, whose lengths are known without their values.
func (p *Partition) cutAt(offset int64) (cut trimCut, err error) {
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceBatch))
	if err != nil {
		return cut, p.corrupt(offset, err)
	}
	defer it.Close()
	if !it.SeekLT(p.keyBatch(offset + 1)) {
		return cut, p.corrupt(offset, errOr(it.Error(), errors.New("no batch there")))
	}
	if cut.base, err = keys.OffsetOf(it.Key()); err != nil {
		return cut, p.corrupt(offset, err)
	}
	times, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceTime))
	if err != nil {
		return cut, p.corrupt(offset, err)
	}
	defer times.Close()
	// The entry strictly below is kept too: it tells which times lie between the two.
	if !times.SeekLT(p.keyTime(cut.base)) && !times.First() {
		return cut, p.corrupt(cut.base, errOr(times.Error(), errors.New("no index of append times")))
	}
	timeBase, entry, err := p.timeEntry(times)
	if err != nil {
		return cut, err
	}
	cut.timeBase, cut.bytesBefore = timeBase, entry.BytesBefore
	// Batches of the entry's millisecond that an earlier trim has deleted are in its sum of bytes, not here any more.
	if gone := p.bytesGone(); gone > cut.bytesBefore {
		cut.bytesBefore = gone
	}
	for ok := it.SeekGE(p.keyBatch(timeBase)); ok; ok = it.Next() {
		at, err := keys.OffsetOf(it.Key())
		if err != nil {
			return cut, p.corrupt(offset, err)
		}
		if at >= cut.base {
			break
		}
		lazy := it.LazyValue()
		cut.bytesBefore += int64(lazy.Len())
	}
	if err := it.Error(); err != nil { // First would forget it
		return cut, p.corrupt(offset, err)
	}
	if !it.First() {
		return cut, p.corrupt(offset, errOr(it.Error(), errors.New("no batch there")))
	}
	cut.first, err = keys.OffsetOf(it.Key())
	return cut, p.wrap(errors.Join(err, it.Error()))
}

func (p *Partition) bytesGone() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.bytesBefore
}

func (p *Partition) anyAborted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastAborted >= 0
}

func (p *Partition) encodeTrim(pb *pebble.Batch, cut trimCut, meta keys.Part) {
	id := uint32(p.id)
	must(pb.Set(keys.Partition(nil, keys.SpacePart, id), meta.Append(nil), nil))
	if cut.first < cut.base {
		must(pb.DeleteRange(p.keyBatch(cut.first), p.keyBatch(cut.base), nil))
	}
	if cut.timeBase > 0 {
		must(pb.DeleteRange(p.keyTime(0), p.keyTime(cut.timeBase), nil))
	}
	if meta.DeltaStart > 0 && p.anyAborted() {
		must(pb.DeleteRange(keys.Aborted(nil, id, 0), keys.Aborted(nil, id, meta.DeltaStart), nil))
	}
}
