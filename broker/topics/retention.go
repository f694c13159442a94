package topics

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

const pieceBytes = 1 << 20 // read of the log at once

// retain enforces retention in every RetentionCheck until ctx is done.
func (r *Registry) retain(ctx context.Context) {
	ticker := time.NewTicker(r.opts.RetentionCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.Retain(ctx)
		}
	}
}

// Retain deletes what retention.ms and retention.bytes allow in all topics with cleanup.policy=delete. A partition that
// fails is logged and tried again in the next pass. Where rows are left from the time when a topic was key-framed, the keyframer begins
// with them.
func (r *Registry) Retain(ctx context.Context) {
	for _, t := range r.List() {
		cfg := t.Config()
		if !cfg.Delete || cfg.KeyFramed {
			continue
		}
		for _, p := range t.Partitions {
			if ctx.Err() != nil {
				return
			}
			if b := p.Log.Bounds(); b.LogStart < b.DeltaStart {
				continue
			}
			if err := r.retainPartition(ctx, t, p, cfg); err != nil && ctx.Err() == nil && !errors.Is(err, log.ErrClosed) {
				r.opts.Logger.Error("cannot delete old records", "topic", t.Name, "partition", p.Index, "error", err)
			}
		}
	}
}

// retainPartition moves the log start up to where the topic's limits allow; the raw batches below it go with it.
func (r *Registry) retainPartition(ctx context.Context, t *Topic, p *Partition, cfg *Config) error {
	b := p.Log.Bounds()
	b.HighWatermark = min(b.HighWatermark, b.LastStable) // what belongs to an open transaction stays
	start, why := max(b.LogStart, b.DeltaStart), ""
	if cfg.RetentionMs >= 0 {
		byAge, err := Expired(p.Log, b, r.opts.Now().UnixMilli()-cfg.RetentionMs)
		if err != nil {
			return err
		}
		if byAge > start {
			start, why = byAge, "retention.ms"
		}
	}
	if cfg.RetentionBytes >= 0 {
		bySize, err := Excess(p.Log, b, p.Log.SizeBytes()-cfg.RetentionBytes)
		if err != nil {
			return err
		}
		if bySize > start {
			start, why = bySize, "retention.bytes"
		}
	}
	if start <= b.LogStart && b.LogStart <= b.DeltaStart { // not so where the log start was moved over deltas of a key-framed topic
		return nil
	}
	if moved, err := r.moveStart(ctx, t, p, start); err != nil || !moved {
		return err
	}
	r.opts.Logger.Info("old records deleted", "topic", t.Name, "partition", p.Index, "from", b.LogStart, "to", start, "by", why)
	return nil
}

// moveStart moves the log start of a topic that is not key-framed at this moment. A change of that waits.
func (r *Registry) moveStart(ctx context.Context, t *Topic, p *Partition, start int64) (moved bool, err error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if t.Config().KeyFramed {
		return false, nil
	}
	if err := p.Log.SetLogStart(ctx, start); err != nil {
		return false, fmt.Errorf("move the log start to %d: %w", start, err)
	}
	return true, nil
}

// RawLog is what retention reads of a log.
type RawLog interface {
	// OffsetForTimestamp returns the first record whose own timestamp is at or above a time, ms since the Unix epoch.
	OffsetForTimestamp(ms int64) (offset, recordMs int64, epoch int32, ok bool, err error)
	// OffsetAtAppendTime returns the end of what was appended at or before a time; log.ErrNoTime: everything was appended later.
	OffsetAtAppendTime(ms int64) (int64, error)
	// Batches returns whole batches of [from, end), at least one, the first holding from; maxBytes bounds the rest.
	Batches(from, end int64, maxBytes int) ([]batch.Batch, error)
}

// Expired returns the offset below which every record is older than a time: the record's own, or, where no record of a
// batch has one (timestamp -1), that of the append. Kafka takes the time of the segment's file then.
func Expired(p RawLog, b log.Bounds, beforeMs int64) (int64, error) {
	end, err := older(p, b, beforeMs)
	if err != nil {
		return 0, err
	}
	from, err := p.OffsetAtAppendTime(beforeMs - 1)
	if err != nil && !errors.Is(err, log.ErrNoTime) { // ErrNoTime: all that is left was appended later
		return 0, err
	}
	return untimed(p, max(from, b.LogStart, b.DeltaStart), end)
}

// older returns the offset below which every record has a timestamp before a time, or none.
func older(p RawLog, b log.Bounds, beforeMs int64) (int64, error) {
	offset, _, _, ok, err := p.OffsetForTimestamp(beforeMs)
	if err != nil {
		return 0, err
	}
	if !ok {
		return b.HighWatermark, nil
	}
	// Whole batches only: a batch goes when its last record may go.
	batches, err := p.Batches(offset, b.HighWatermark, 1)
	if err != nil || len(batches) == 0 {
		return b.LogStart, err
	}
	return min(batches[0].BaseOffset(), b.HighWatermark), nil
}

// untimed returns where the first batch without timestamps in [from, end) begins, or end. What it passes is deleted next,
// so no batch is read twice.
func untimed(p RawLog, from, end int64) (int64, error) {
	for from < end {
		batches, err := p.Batches(from, end, pieceBytes)
		if err != nil || len(batches) == 0 {
			return from, err
		}
		for _, one := range batches {
			if one.MaxTimestamp() < 0 {
				return one.BaseOffset(), nil
			}
			from = one.NextOffset()
		}
	}
	return end, nil
}

// Excess returns the offset below which batches have to go so that over bytes go, or a little less.
func Excess(p RawLog, b log.Bounds, over int64) (int64, error) {
	from := max(b.DeltaStart, b.LogStart)
	for over > 0 && from < b.HighWatermark {
		batches, err := p.Batches(from, b.HighWatermark, pieceBytes)
		if err != nil || len(batches) == 0 {
			return b.LogStart, err
		}
		for _, one := range batches {
			if over -= int64(len(one)); over < 0 {
				return from, nil // Kafka's rule: what is deleted leaves at least as many bytes as the limit
			}
			from = one.NextOffset()
		}
	}
	return from, nil
}
