package log

import (
	"errors"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/keys"
)

// AbortedTxn is a transaction of one partition whose records readers of committed records skip.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64 // of its first record
	LastOffset  int64 // of its marker
}

// IsAborted says whether the batch's records are of one of the transactions, which are those that overlap it or more.
func IsAborted(list []AbortedTxn, b batch.Batch) bool {
	if len(list) == 0 || !b.IsTransactional() {
		return false
	}
	return slices.ContainsFunc(list, func(a AbortedTxn) bool {
		return a.ProducerID == b.ProducerID() && b.BaseOffset() >= a.FirstOffset && b.BaseOffset() < a.LastOffset
	})
}

// Aborted returns the aborted transactions that overlap [from, end), in the order of their markers; end is cut to the last stable
// offset. Those whose markers lie below the delta start are not kept: read the batches first, then ask for what they need, and with
// ErrTrimmed read again. Errors: ErrTrimmed where from is below the delta start, *CorruptError, ErrClosed.
func (p *Partition) Aborted(from, end int64) (list []AbortedTxn, err error) {
	p.mu.Lock()
	end = min(end, p.state.bounds.LastStable)
	last, closed := p.lastAborted, p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return nil, p.wrap(ErrClosed)
	case from >= end || from > last:
		return nil, nil
	}
	if err := p.store.enter(); err != nil {
		return nil, p.wrap(err)
	}
	defer p.store.uses.Done()
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceAborted))
	if err != nil {
		return nil, p.corrupt(from, err)
	}
	defer it.Close()
	for ok := it.SeekGE(keys.Aborted(nil, uint32(p.id), from)); ok; ok = it.Next() {
		marker, err := keys.OffsetOf(it.Key())
		if err != nil {
			return nil, p.corrupt(from, err)
		}
		a, err := keys.DecodeAborted(it.Value())
		if err != nil {
			return nil, p.corrupt(marker, err)
		}
		if a.FirstOffset < end {
			list = append(list, AbortedTxn{ProducerID: a.ProducerID, FirstOffset: a.FirstOffset, LastOffset: marker})
		}
		if a.LastStable >= end { // what ends later begins later
			break
		}
	}
	if err := it.Error(); err != nil {
		return nil, p.corrupt(from, err)
	}
	if start := p.Bounds().DeltaStart; from < start { // which is told before the entries go
		return nil, p.trimmed(from, start)
	}
	return list, nil
}

func (p *Partition) loadAborted() error {
	p.lastAborted = -1
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceAborted))
	if err != nil {
		return p.corrupt(0, err)
	}
	defer it.Close()
	if it.Last() {
		if p.lastAborted, err = keys.OffsetOf(it.Key()); err != nil {
			return p.corrupt(0, err)
		}
		if p.lastAborted >= p.writer.next {
			return p.corrupt(p.lastAborted, errors.New("an aborted transaction ends beyond the end of the log"))
		}
	}
	if err := it.Error(); err != nil {
		return p.corrupt(0, err)
	}
	return nil
}
