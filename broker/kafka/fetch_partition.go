package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/storage/log"
)

// readPartition fills one partition's answer. budget is what is left of the response; the first partition with records gives
// at least one batch, however large (KIP-74).
func (f *fetching) readPartition(ctx context.Context, fp *fetchPartition, budget int, first bool) {
	if code := f.check(fp); code != none {
		fp.answer.ErrorCode = code
		return
	}
	b := fp.p.Log.Bounds()
	f.describe(fp, b)
	if fp.answer.DivergingEpoch.Epoch >= 0 {
		return
	}
	end := f.end(b)
	if fp.req.FetchOffset >= end {
		return
	}
	limit := min(int(fp.req.PartitionMaxBytes), budget)
	if limit <= 0 && !first {
		fp.skipped = true
		return
	}
	buf := f.buffer()
	records, raw, next, err := f.readRecords(ctx, fp, b, end, max(limit, 0), *buf)
	if cap(records) > cap(*buf) {
		*buf = records
	}
	if err != nil {
		f.fail(fp, err)
		return
	}
	if len(records) > limit && !first {
		fp.skipped = true // one batch alone is larger than what is left
		f.spare = buf
		return
	}
	if err := f.listAborted(fp, raw, next); errors.Is(err, log.ErrTrimmed) {
		f.spare = buf
		return // they are rows now: the next fetch gets those
	} else if err != nil {
		f.fail(fp, err)
		return
	}
	fp.answer.RecordBatches = records
	f.sent(fp, b, next)
}

// listAborted tells a reader of committed records which transactions' records to skip in [raw, next), the raw batches that it gets. What
// ended below is not told: the reader would look for a marker that it does not get.
func (f *fetching) listAborted(fp *fetchPartition, raw, next int64) error {
	if f.req.IsolationLevel != 1 || raw >= next {
		return nil
	}
	list, err := fp.p.Log.Aborted(raw, next)
	if err != nil {
		return err
	}
	for _, a := range list {
		x := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
		x.ProducerID, x.FirstOffset = a.ProducerID, a.FirstOffset
		fp.answer.AbortedTransactions = append(fp.answer.AbortedTransactions, x)
	}
	return nil
}

// check says whether the partition can be read at the offset; a code other than none ends a wait at once.
func (f *fetching) check(fp *fetchPartition) int16 {
	if fp.code != none {
		return fp.code
	}
	select {
	case <-fp.t.Gone():
		if f.req.Version >= 13 {
			return unknownTopicID
		}
		return unknownTopicOrPartition
	default:
	}
	if code := f.h.checkEpoch(fp.req.CurrentLeaderEpoch); code != none {
		return code
	}
	known, diverges := f.diverges(fp)
	if !known {
		return offsetOutOfRange // an epoch of the future: the client read another log
	}
	// A client whose log parted from ours has to know where, not that its offset is beyond the end.
	if b := fp.p.Log.Bounds(); !diverges && (fp.req.FetchOffset < b.LogStart || fp.req.FetchOffset > b.LogEnd) {
		return offsetOutOfRange
	}
	return none
}

// describe fills in the partition's bounds and where the client's log and ours parted.
func (f *fetching) describe(fp *fetchPartition, b log.Bounds) {
	a := &fp.answer
	a.HighWatermark, a.LastStableOffset, a.LogStartOffset = b.HighWatermark, visibleEnd(b, 1), b.LogStart
	if f.req.IsolationLevel == 1 {
		a.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
	}
	if _, diverges := f.diverges(fp); diverges {
		a.DivergingEpoch.Epoch, a.DivergingEpoch.EndOffset = fp.p.Log.EpochEnd(fp.req.LastFetchedEpoch)
	}
}

// diverges says whether the epoch that the client read last ended before its offset (v12 on), and whether it is known at all.
func (f *fetching) diverges(fp *fetchPartition) (known, diverges bool) {
	if fp.req.LastFetchedEpoch < 0 {
		return true, false
	}
	epoch, end := fp.p.Log.EpochEnd(fp.req.LastFetchedEpoch)
	return epoch >= 0, epoch >= 0 && (epoch < fp.req.LastFetchedEpoch || end < fp.req.FetchOffset)
}

// end is the first offset that the client may not see.
func (f *fetching) end(b log.Bounds) int64 { return visibleEnd(b, f.req.IsolationLevel) }

// readRecords appends to records: rows below the delta start offset and raw batches from there on, which begin at raw. next is the end of
// what they hold. Trimming may move the delta start offset in between; then the offset is among the rows now.
func (f *fetching) readRecords(ctx context.Context, fp *fetchPartition, b log.Bounds, end int64, limit int, records []byte) (_ []byte, raw, next int64, err error) {
	const attempts = 3
	from := fp.req.FetchOffset
	for range attempts {
		if from < b.DeltaStart {
			if f.h.cfg.Rows == nil {
				return nil, from, from, log.ErrTrimmed
			}
			ctx := keyframer.WithSession(ctx, sessionOf(f.conn))
			if records, from, err = f.h.cfg.Rows.Rows(ctx, fp.t, fp.p, from, limit, records); err != nil {
				return nil, from, from, err
			}
			if from < b.DeltaStart || len(records) > 0 && len(records) >= limit || from >= end {
				return records, from, from, nil
			}
		}
		before := len(records)
		grown, next, err := fp.p.Log.Read(from, end, limit-before, records)
		switch {
		case before > 0 && (err != nil || len(grown) > limit):
			return records[:before], from, from, nil // there are rows to give; the rest comes next time
		case err == nil:
			return grown, from, next, nil
		case !errors.Is(err, log.ErrTrimmed):
			return nil, from, from, err
		}
		b = fp.p.Log.Bounds()
	}
	return nil, from, from, log.ErrTrimmed
}

// sent notes an answer of a key-framed topic in the connection's session: a consumer that reads from the start may fall among the
// rows, or behind the tombstone horizon, when they overtake it. b are the bounds from before the answer was read.
func (f *fetching) sent(fp *fetchPartition, b log.Bounds, next int64) {
	if f.h.cfg.Rows != nil && (fp.t.Config().KeyFramed || b.LogStart < b.DeltaStart) {
		sessionOf(f.conn).Fetched(fp.t.ID, fp.p.Index, fp.req.FetchOffset, next, b.LogStart, b.DeltaStart)
	}
}

func (f *fetching) fail(fp *fetchPartition, err error) {
	code := codeOf(err)
	if code != offsetOutOfRange {
		f.h.cfg.Logger.Error("fetch failed", "topic", fp.t.Name, "partition", fp.req.Partition, "offset", fp.req.FetchOffset, "error", err)
	}
	fp.answer = emptyAnswer(fp.req.Partition)
	fp.answer.ErrorCode = code
}
