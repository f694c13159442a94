package log

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/keys"
)

const lookupBytes = 4 << 20 // read at once by a search through batches

// OffsetAtAppendTime returns the offset x such that the records below x are those that were appended at or before ms
// (broker clock, Unix milliseconds): the end of the state at that time. Never above the high watermark.
// Errors: ErrNoTime when the index does not reach back to ms; *CorruptError.
func (p *Partition) OffsetAtAppendTime(ms int64) (offset int64, err error) {
	b := p.Bounds()
	at, found, err := p.lastEntry(b.HighWatermark, func(e keys.TimeEntry) bool { return e.AppendMs <= ms })
	if err != nil {
		return 0, err
	}
	if at.next < b.DeltaStart || !found && at.next > 0 {
		return 0, fmt.Errorf("log of ordinal %d: %w", p.id, ErrNoTime)
	}
	return min(at.next, b.HighWatermark), nil
}

// AppendTimeAt returns when the record at offset was appended (broker clock, Unix milliseconds); of one that the index no longer reaches
// back to, the oldest time that it has, which is later. ErrNoTime where nothing is known to be appended.
func (p *Partition) AppendTimeAt(offset int64) (ms int64, err error) {
	if err := p.store.enter(); err != nil {
		return 0, p.wrap(err)
	}
	defer p.store.uses.Done()
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceTime))
	if err != nil {
		return 0, p.corrupt(offset, err)
	}
	defer it.Close()
	if !it.SeekLT(p.keyTime(max(offset, 0)+1)) && !it.First() {
		if err := it.Error(); err != nil {
			return 0, p.corrupt(offset, err)
		}
		return 0, fmt.Errorf("log of ordinal %d: %w", p.id, ErrNoTime)
	}
	_, entry, err := p.timeEntry(it)
	return entry.AppendMs, err
}

// OffsetForTimestamp returns the first record that is still there as a raw delta whose own timestamp is at or above ts
// (Unix milliseconds), with its leader epoch. ok is false when there is none. Errors: *CorruptError, ErrClosed.
func (p *Partition) OffsetForTimestamp(ts int64) (offset, recordTs int64, epoch int32, ok bool, err error) {
	b := p.Bounds()
	p.mu.Lock()
	highest := p.state.maxTimestamp
	p.mu.Unlock()
	if highest == noTimestamp || highest < ts {
		return 0, 0, 0, false, nil
	}
	// All records before the entry are older than ts, so the first that is not lies at or behind it.
	at, _, err := p.lastEntry(b.HighWatermark, func(e keys.TimeEntry) bool { return e.MaxTimestamp < ts })
	if err != nil {
		return 0, 0, 0, false, err
	}
	reader := batch.NewReader(p.store.cfg.MaxDecompressedBytes)
	err = p.search(max(at.offset, b.DeltaStart), b.HighWatermark, func(x batch.Batch) (bool, error) {
		if x.MaxTimestamp() < ts {
			return false, nil
		}
		r, found, err := firstRecord(reader, x, max(b.LogStart, b.DeltaStart), ts)
		if found {
			offset, recordTs, epoch, ok = r.Offset, r.Timestamp, x.LeaderEpoch(), true
		}
		return found, err
	})
	return offset, recordTs, epoch, ok, err
}

// firstRecord finds the first record of a batch at or above both the offset and the timestamp. The header's highest
// timestamp is the client's word: there may be none.
func firstRecord(reader *batch.Reader, b batch.Batch, offset, ts int64) (r batch.Record, found bool, err error) {
	if err := reader.Reset(b); err != nil {
		return r, false, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	for {
		r, ok, err := reader.Next()
		if err != nil {
			return r, false, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
		}
		if !ok {
			return r, false, nil
		}
		if r.Offset >= offset && r.Timestamp >= ts {
			return r, true, nil
		}
	}
}

// MaxTimestamp returns the record with the highest timestamp that is still there as a raw delta, the first if there are
// several. ok is false when the partition is empty. Errors: *CorruptError, ErrClosed.
func (p *Partition) MaxTimestamp() (offset, recordTs int64, epoch int32, ok bool, err error) {
	p.mu.Lock()
	highest := p.state.maxTimestamp
	p.mu.Unlock()
	if highest == noTimestamp {
		return 0, 0, 0, false, nil
	}
	if offset, recordTs, epoch, ok, err = p.OffsetForTimestamp(highest); ok || err != nil {
		return offset, recordTs, epoch, ok, err
	}
	// The record was trimmed: look at what is left. Rare, and as long as reading it.
	b := p.Bounds()
	highest = noTimestamp
	err = p.search(max(b.LogStart, b.DeltaStart), b.HighWatermark, func(x batch.Batch) (bool, error) {
		highest = max(highest, x.MaxTimestamp())
		return false, nil
	})
	if err != nil || highest == noTimestamp {
		return 0, 0, 0, false, err
	}
	return p.OffsetForTimestamp(highest)
}

// search calls look for each batch of [from, end) until it says that it has found what it wants.
func (p *Partition) search(from, end int64, look func(batch.Batch) (found bool, err error)) error {
	for from < end {
		list, err := p.Batches(from, end, lookupBytes)
		if err != nil {
			return err
		}
		for _, b := range list {
			if found, err := look(b); found || err != nil {
				return err
			}
			from = b.NextOffset()
		}
		if len(list) == 0 {
			return nil
		}
	}
	return nil
}

// indexPoint is a place in the time index: the entry's offset, and that of the next entry, or the end.
type indexPoint struct{ offset, next int64 }

// lastEntry bisects the time index below end for the last entry that before holds for; before must hold for all entries up
// to some point and for none behind it. Not found: the first entry does not fit, next is its offset.
func (p *Partition) lastEntry(end int64, before func(keys.TimeEntry) bool) (at indexPoint, found bool, err error) {
	if err := p.store.enter(); err != nil {
		return at, false, p.wrap(err)
	}
	defer p.store.uses.Done()
	opts := p.spaceBounds(keys.SpaceTime)
	opts.UpperBound = p.keyTime(end)
	it, err := p.store.db.NewIter(opts)
	if err != nil {
		return at, false, p.corrupt(0, err)
	}
	defer it.Close()
	if !it.First() {
		if err := it.Error(); err != nil {
			return at, false, p.corrupt(0, err)
		}
		return indexPoint{next: end}, false, nil
	}
	first, entry, err := p.timeEntry(it)
	if err != nil {
		return at, false, err
	}
	if !before(entry) {
		return indexPoint{next: first}, false, nil
	}
	low, high := first, end-1 // the entry at or below low fits, the one sought is at or below high
	for low < high {
		mid := low + (high-low+1)/2
		if !it.SeekLT(p.keyTime(mid + 1)) {
			return at, false, p.corrupt(mid, fmt.Errorf("index of append times: %w", errOr(it.Error(), keys.ErrCorrupt)))
		}
		offset, entry, err := p.timeEntry(it)
		if err != nil {
			return at, false, err
		}
		if before(entry) {
			low = mid
		} else {
			high = offset - 1
		}
	}
	if !it.SeekLT(p.keyTime(low + 1)) {
		return at, false, p.corrupt(low, fmt.Errorf("index of append times: %w", errOr(it.Error(), keys.ErrCorrupt)))
	}
	at.next = end
	if at.offset, _, err = p.timeEntry(it); err != nil {
		return at, false, err
	}
	if it.Next() {
		at.next, err = keys.OffsetOf(it.Key())
	} else {
		err = it.Error()
	}
	if err != nil {
		return at, false, p.corrupt(low, err)
	}
	return at, true, nil
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (p *Partition) timeEntry(it *pebble.Iterator) (offset int64, entry keys.TimeEntry, err error) {
	offset, err = keys.OffsetOf(it.Key())
	if err != nil {
		return 0, entry, p.corrupt(0, err)
	}
	entry, err = keys.DecodeTimeEntry(it.Value())
	if err != nil {
		return 0, entry, p.corrupt(offset, err)
	}
	return offset, entry, nil
}
