package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Read appends the raw batches that Locate finds to dst. next is the offset after the last batch. Errors are Locate's; of batches behind the first that are damaged,
// the next Read tells.
func (p *Partition) Read(from, end int64, maxBytes int, dst []byte) (out []byte, next int64, err error) {
	r, err := p.Locate(from, end, maxBytes)
	if err != nil {
		return dst, from, err
	}
	defer r.Close()
	dst = slices.Grow(dst, r.Len())
	next, err = r.read(from, func(b batch.Batch) { dst = append(dst, b...) })
	return dst, next, err
}

// Batches is Read for readers in the process: at the tail the batches are the log's own slices and must not be changed.
// Bounds, limits and errors are Read's, but that the log start hides nothing (HideBelow): what is gone is ErrTrimmed, whatever the log start is. An empty
// result means that there is nothing to read.
func (p *Partition) Batches(from, end int64, maxBytes int) (list []batch.Batch, err error) {
	r, err := p.locate(from, end, maxBytes)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.spots == nil {
		return r.kept, nil
	}
	_, err = r.read(from, func(b batch.Batch) { list = append(list, append(batch.Batch(nil), b...)) })
	return list, err
}

// read calls visit for the batches, and returns where the last one ends. An error comes only when there was none.
func (r *Run) read(from int64, visit func(batch.Batch)) (next int64, err error) {
	next = from
	err = r.Each(func(pieces [][]byte) error {
		for _, rest := range pieces {
			for len(rest) > 0 {
				b, more, err := batch.Split(rest)
				if err != nil {
					return err
				}
				visit(b)
				next, rest = b.NextOffset(), more
			}
		}
		return nil
	})
	if next > from {
		return next, nil
	}
	return next, err
}

// fromTail checks the range and serves it from memory if it can: hit. The end comes back cut to the high watermark.
func (p *Partition) fromTail(from, end int64, maxBytes int, list []batch.Batch) (_ []batch.Batch, cut int64, hit bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := &p.state.bounds
	switch {
	case p.closed:
		return nil, 0, false, p.wrap(ErrClosed)
	case from >= 0 && from < b.DeltaStart:
		return nil, 0, false, p.trimmed(from, b.DeltaStart)
	case from < 0 || from > b.LogEnd:
		return nil, 0, false, &OffsetRangeError{Partition: p.id, Offset: from, LogStart: b.LogStart, LogEnd: b.LogEnd}
	}
	if end = min(end, b.HighWatermark); from >= end {
		return list, end, true, nil
	}
	kept, ok := p.tail.find(from)
	if !ok {
		p.store.stats.tailMisses.Add(1)
		return list, end, false, nil
	}
	p.store.stats.tailHits.Add(1)
	size := 0
	for _, x := range kept {
		if size += len(x); x.BaseOffset() >= end || len(list) > 0 && size > maxBytes {
			break
		}
		list = append(list, x)
	}
	return list, end, true, nil
}

// hidden refuses what lies below the log start.
func (p *Partition) hidden(offset int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b := &p.state.bounds; offset < b.LogStart && !p.closed {
		return &OffsetRangeError{Partition: p.id, Offset: offset, LogStart: b.LogStart, LogEnd: b.LogEnd}
	}
	return nil
}

func (p *Partition) trimmed(offset, deltaStart int64) error {
	return fmt.Errorf("log of ordinal %d: offset %d is below the delta start offset %d: %w", p.id, offset, deltaStart, ErrTrimmed)
}

// fromDisk calls visit for the batches of [from, end), from < end <= high watermark, until maxBytes. What visit gets was
// checked and is only valid during the call. An error comes only when visit was not called at all; damage behind good
// batches is met by the next read.
func (p *Partition) fromDisk(from, end int64, maxBytes int, visit func(batch.Batch)) error {
	if err := p.knownDamage(from); err != nil {
		return err
	}
	if err := p.store.enter(); err != nil {
		return p.wrap(err)
	}
	defer p.store.uses.Done()
	it, err := p.store.db.NewIter(&pebble.IterOptions{
		LowerBound: p.keyBatch(0),
		UpperBound: p.keyBatch(end),
	})
	if err != nil {
		return p.corrupt(from, err)
	}
	next, err := p.walk(it, from, end, maxBytes, visit)
	if cerr := it.Close(); err == nil && cerr != nil {
		err = p.corrupt(next, cerr)
	}
	if err == nil || next > from {
		p.forgetDamage(from)
		return nil
	}
	return p.why(from, err)
}

// why tells what an error of the batch at an offset comes from, and remembers damage.
func (p *Partition) why(offset int64, err error) error {
	p.mu.Lock()
	start, closed := p.state.bounds.DeltaStart, p.closed
	p.mu.Unlock()
	switch { // while we were on our way
	case closed:
		return p.wrap(ErrClosed)
	case offset < start:
		return p.trimmed(offset, start)
	}
	p.rememberDamage(offset, err)
	return err
}

func (p *Partition) knownDamage(offset int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, ok := p.damaged[offset]
	if !ok || p.store.cfg.Now().UnixMilli() >= d.untilMs {
		return nil // to be looked at again
	}
	return d.err
}

// forgetDamage is called when what was found damaged could be read.
func (p *Partition) forgetDamage(offset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.damaged, offset)
}

// notedDamage is where damage was found, also what is to be looked at again.
func (p *Partition) notedDamage() map[int64]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.damaged) == 0 {
		return nil
	}
	noted := make(map[int64]bool, len(p.damaged))
	for offset := range p.damaged {
		noted[offset] = true
	}
	return noted
}

func (p *Partition) highWatermark() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.bounds.HighWatermark
}

func (p *Partition) rememberDamage(offset int64, err error) {
	var damaged *damage.Error
	if !pebble.IsCorruptionError(err) && !errors.As(err, &damaged) { // another error may pass
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.damaged == nil || len(p.damaged) >= damageMax {
		p.damaged = make(map[int64]damageNote)
	}
	p.damaged[offset] = damageNote{err: err, untilMs: p.store.cfg.Now().UnixMilli() + damageMs}
}

// walk returns the offset after the last batch that it visited; from when it visited none.
func (p *Partition) walk(it *pebble.Iterator, from, end int64, maxBytes int, visit func(batch.Batch)) (next int64, err error) {
	next = from
	size := 0
	for ok := it.SeekLT(p.keyBatch(from + 1)); ok; ok = it.Next() {
		b, err := p.stored(it)
		if err != nil {
			return next, p.corrupt(next, err)
		}
		if first := size == 0; b.NextOffset() <= next || b.BaseOffset() > next || !first && b.BaseOffset() != next {
			return next, p.corrupt(next, foundInstead(b))
		}
		if size += len(b); next > from && size > maxBytes {
			return next, nil
		}
		visit(b)
		if next = b.NextOffset(); next >= end || size >= maxBytes {
			return next, nil
		}
	}
	if err := it.Error(); err != nil {
		return next, p.corrupt(next, err)
	}
	return next, p.corrupt(next, errors.New("no batch there"))
}

// stored checks the batch under the iterator against its key and its CRC.
func (p *Partition) stored(it *pebble.Iterator) (batch.Batch, error) {
	offset, err := keys.OffsetOf(it.Key())
	if err != nil {
		return nil, err
	}
	value, err := damage.Value(it)
	if err != nil {
		return nil, err
	}
	return checkStored(offset, value)
}

func checkStored(offset int64, value []byte) (batch.Batch, error) {
	b, rest, err := batch.Split(value)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf("%w: %d bytes after the batch", keys.ErrCorrupt, len(rest))
	case b.BaseOffset() != offset:
		return nil, fmt.Errorf("%w: batch says base offset %d, its key %d", keys.ErrCorrupt, b.BaseOffset(), offset)
	}
	if err := b.VerifyCRC(); err != nil {
		return nil, err
	}
	return b, nil
}
