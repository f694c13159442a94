package topics

import (
	"context"
	"fmt"

	"github.com/keyframelog/keyframe/storage/log"
)

// EndOfLog stands for the high watermark in DeleteRecords.
const EndOfLog = -1

// DeleteRecords moves the log start of a partition up to an offset, durably, and returns the log start that it has then. Below the log
// start nothing happens, as in Kafka. In a key-framed topic the rows below it leave the table at the next cut, and nothing moves beyond
// the last stable offset. Errors: *log.OffsetRangeError above the high watermark, ErrPolicy where cleanup.policy has no delete,
// ErrClosed, the log's.
func (r *Registry) DeleteRecords(ctx context.Context, t *Topic, p *Partition, offset int64) (logStart int64, err error) {
	r.changes.Lock() // the policy must not change in between
	defer r.changes.Unlock()
	if r.closed {
		return 0, ErrClosed
	}
	cfg, b := t.Config(), p.Log.Bounds()
	if !cfg.Delete {
		return 0, fmt.Errorf("%w: Records of partition %s-%d can not be deleted due to the configured policy", ErrPolicy, t.Name, p.Index)
	}
	switch {
	case offset == EndOfLog:
		offset = b.HighWatermark
	case offset < 0 || offset > b.HighWatermark:
		return 0, fmt.Errorf("delete records of %s-%d: %w", t.Name, p.Index,
			&log.OffsetRangeError{Partition: p.Log.ID(), Offset: offset, LogStart: b.LogStart, LogEnd: b.HighWatermark})
	}
	if offset > b.LogStart {
		move := p.Log.SetLogStart
		if cfg.KeyFramed {
			move = p.Log.HideBelow
			if err := awaitSync(ctx, p.Log, offset); err != nil {
				return 0, fmt.Errorf("delete records of %s-%d: %w", t.Name, p.Index, err)
			}
		}
		if err := move(ctx, offset); err != nil {
			return 0, fmt.Errorf("delete records of %s-%d: %w", t.Name, p.Index, err)
		}
		r.opts.Logger.Info("records deleted", "topic", t.Name, "partition", p.Index, "from", b.LogStart, "to", p.Log.Bounds().LogStart)
	}
	return p.Log.Bounds().LogStart, nil
}

// awaitSync waits until everything below an offset, which is readable, is synced. Without syncs (flush.messages) consumers read further, and may
// have deleted what they have read; only what is synced is stable.
func awaitSync(ctx context.Context, l *log.Partition, offset int64) error {
	moved := make(chan struct{}, 1)
	defer l.Watch(func() {
		select {
		case moved <- struct{}{}:
		default:
		}
	})()
	for l.Bounds().Synced < offset {
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
