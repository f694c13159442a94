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
	raw, next, err := f.readRecords(ctx, fp, b, end, max(limit, 0))
	if err == nil && fp.records.len() > limit && !first {
		fp.skipped = true // one batch alone is larger than what is left
		f.drop(fp)
		return
	}
	if err == nil {
		err = f.listAborted(fp, raw, next)
		if errors.Is(err, log.ErrTrimmed) {
			f.drop(fp)
			return // they are rows now: the next fetch gets those
		}
	}
	if err != nil {
		f.fail(fp, err)
		return
	}
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

// readRecords finds the partition's records: rows below the delta start offset and raw batches from there on, which begin at raw. next is the end of
// what they hold. Trimming may move the delta start offset in between; then the offset is among the rows now.
func (f *fetching) readRecords(ctx context.Context, fp *fetchPartition, b log.Bounds, end int64, limit int) (raw, next int64, err error) {
	const attempts = 3
	from, r := fp.req.FetchOffset, &fp.records
	for range attempts {
		if from < b.DeltaStart {
			if from, err = f.readRows(ctx, fp, from, limit-len(r.rows)); err != nil {
				return from, from, err
			}
			if from < b.DeltaStart || len(r.rows) > 0 && len(r.rows) >= limit || from >= end {
				return from, from, nil
			}
		}
		run, err := fp.p.Log.Locate(from, end, limit-len(r.rows))
		switch {
		case len(r.rows) > 0 && err == nil && len(r.rows)+run.Len() > limit:
			run.Close()
			return from, from, nil // there are rows to give; the rest comes next time
		case len(r.rows) > 0 && err != nil:
			return from, from, nil
		case err == nil:
			r.run, r.failed = run, func(err error) { f.report(fp, err) }
			return from, run.Next(), nil
		case !errors.Is(err, log.ErrTrimmed):
			return from, from, err
		}
		b = fp.p.Log.Bounds()
	}
	return from, from, log.ErrTrimmed
}

// readRows adds rows, and returns the offset to go on from.
func (f *fetching) readRows(ctx context.Context, fp *fetchPartition, from int64, limit int) (next int64, err error) {
	if f.h.cfg.Rows == nil {
		return from, log.ErrTrimmed
	}
	buf := f.buffer()
	ctx = keyframer.WithSession(ctx, sessionOf(f.conn))
	rows, next, err := f.h.cfg.Rows.Rows(ctx, fp.t, fp.p, from, limit, *buf)
	if cap(rows) > cap(*buf) {
		*buf = rows
	}
	if err != nil {
		return from, err
	}
	if fp.records.rows, fp.records.buffer = rows, buf; len(rows) == 0 {
		f.drop(fp)
	}
	return next, nil
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
		f.report(fp, err)
	}
	f.drop(fp)
	fp.answer = emptyAnswer(fp.req.Partition)
	fp.answer.ErrorCode = code
}

func (f *fetching) report(fp *fetchPartition, err error) {
	f.h.cfg.Logger.Error("fetch failed", "topic", fp.t.Name, "partition", fp.req.Partition, "offset", fp.req.FetchOffset, "error", err)
}
