package memlog

import (
	"cmp"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

// AppendIn appends one batch in the producer's transaction, which it opens if need be.
func (l *Log) AppendIn(producerID int64, records ...batch.Record) int64 {
	opts := batch.NewOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = producerID, 0, 0, true
	return l.AppendAs(opts, records...)
}

// End appends the marker that ends the producer's transaction, and returns its offset.
func (l *Log) End(producerID int64, commit bool) int64 {
	l.mu.Lock()
	base, ms := l.bounds.LogEnd, l.now().UnixMilli()
	b := batch.EndTxn{ProducerID: producerID, Commit: commit}.Batch(ms)
	b.Stamp(base, l.epoch)
	l.appendLocked(b, ms)
	l.mu.Unlock()
	l.notify()
	return base
}

// noteLocked follows the transactions.
func (l *Log) noteLocked(b batch.Batch, ms int64) {
	at := slices.IndexFunc(l.open, func(o log.OpenTxn) bool { return o.ProducerID == b.ProducerID() })
	switch {
	case !b.IsTransactional():
	case !b.IsControl() && at < 0:
		l.open = append(l.open, log.OpenTxn{ProducerID: b.ProducerID(), FirstOffset: b.BaseOffset(), SinceMs: ms})
	case b.IsControl() && at >= 0:
		end, err := batch.ParseEndTxn(b)
		must(err)
		if !end.Commit {
			l.aborted = append(l.aborted, log.AbortedTxn{ProducerID: b.ProducerID(), FirstOffset: l.open[at].FirstOffset, LastOffset: b.BaseOffset()})
		}
		l.open = slices.Delete(l.open, at, at+1)
	}
}

// Aborted returns the aborted transactions that overlap [from, end).
func (l *Log) Aborted(from, end int64) (list []log.AbortedTxn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if from < l.bounds.DeltaStart {
		return nil, log.ErrTrimmed
	}
	end = min(end, l.bounds.LastStable)
	for _, a := range l.aborted {
		if from < end && a.FirstOffset < end && a.LastOffset >= from {
			list = append(list, a)
		}
	}
	return list, nil
}

// OpenTxns returns the open transactions, oldest first.
func (l *Log) OpenTxns() []log.OpenTxn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(slices.Values(l.open), func(a, b log.OpenTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
}
