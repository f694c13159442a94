package keyframer

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Retention of what consumers see of a partition: rows up to N1, and raw batches from there on. It moves the log start offset as Kafka
// does with a log of compacted segments, but record by record: from the start on, what is older than retention.ms goes, up to the first
// record that is not; and what is more than retention.bytes, as long as that many bytes are left. Rows leave the table at the next cut.

const (
	// retainEveryMin and -Max are how often the records are looked at.
	retainEveryMinMs = 1000
	retainEveryMaxMs = 60_000
	// rowOverhead is about what surrounds the key, value and headers of a row in a record batch, in bytes.
	rowOverhead = 12
)

// rowBytes remembers how much the rows between a log start and N1 take, so that they are not counted at every look.
type rowBytes struct {
	logStart, deltaStart int64
	bytes                int64
	known                bool
}

// retain moves the log start where the topic's limits allow it, and returns when to look again (0: when something has changed).
func (p *Partition) retain(ctx context.Context, s *Settings, nowMs int64) (againMs int64, err error) {
	if s.RetentionMs < 0 && s.RetentionBytes < 0 {
		return 0, nil
	}
	b := p.log.Bounds()
	b.HighWatermark = min(b.HighWatermark, b.LastStable) // what belongs to an open transaction stays
	if s.Paused && b.LogStart >= b.DeltaStart {
		return 0, nil // no rows are left: the registry of topics does the rest
	}
	againMs = nowMs + retainEveryMaxMs
	start, why := b.LogStart, ""
	if s.RetentionMs >= 0 {
		againMs = nowMs + min(max(s.RetentionMs/256, retainEveryMinMs), retainEveryMaxMs)
		byAge, err := p.expired(b, nowMs-s.RetentionMs)
		if err != nil {
			return 0, fmt.Errorf("records older than retention.ms: %w", err)
		}
		if byAge > start {
			start, why = byAge, "retention.ms"
		}
	}
	if s.RetentionBytes >= 0 {
		bySize, err := p.excess(ctx, b, s.RetentionBytes)
		if err != nil {
			return 0, fmt.Errorf("records beyond retention.bytes: %w", err)
		}
		if bySize > start {
			start, why = bySize, "retention.bytes"
		}
	}
	if start <= b.LogStart {
		return againMs, nil
	}
	move := p.log.HideBelow
	if s.Paused {
		move = p.log.SetLogStart
	}
	if err := move(ctx, start); err != nil {
		return 0, fmt.Errorf("move the log start to %d: %w", start, err)
	}
	p.logger.Info("old records expired", "from", b.LogStart, "to", start, "by", why)
	return againMs, nil
}

// expired returns the offset below which every record is older than a time: the record's own, or where it has none that of its append,
// which of a row is known to lie before the cut at N1.
func (p *Partition) expired(b log.Bounds, beforeMs int64) (int64, error) {
	if b.LogStart < b.DeltaStart {
		young, found, err := p.firstRow(b.LogStart, func(row *frame.Row, cut *table.Frame) bool {
			if row.Timestamp < 0 {
				return cut.CutTimeMs >= beforeMs
			}
			return row.Timestamp >= beforeMs
		})
		if err != nil || found {
			return young, err
		}
	}
	return topics.Expired(p.log, b, beforeMs)
}

// firstRow returns the offset of the first row at or above from that stop is true for.
func (p *Partition) firstRow(from int64, stop func(*frame.Row, *table.Frame) bool) (offset int64, found bool, err error) {
	view, err := p.rowsView(from)
	if errors.Is(err, ErrAboveRows) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	f := view.Frame()
	for row, err := range view.Offsets(from, true) {
		if err != nil {
			return 0, false, err
		}
		if stop(&row, &f) {
			return row.Offset, true, nil
		}
	}
	return 0, false, nil
}

func sizeOf(row *frame.Row) int64 {
	return int64(len(row.Key)+len(row.Value)+len(row.Headers)) + rowOverhead
}

// excess returns the offset below which records have to go so that no more than limit bytes are left: Kafka's rule is that what goes
// leaves at least limit bytes.
func (p *Partition) excess(ctx context.Context, b log.Bounds, limit int64) (int64, error) {
	rows, err := p.countRows(b)
	if err != nil {
		return 0, err
	}
	raw, err := p.log.BytesFrom(ctx, max(b.LogStart, b.DeltaStart))
	if err != nil {
		return 0, err
	}
	over := rows + raw - limit
	if over <= 0 {
		return b.LogStart, nil
	}
	if b.LogStart < b.DeltaStart {
		gone := int64(0)
		first, found, err := p.firstRow(b.LogStart, func(row *frame.Row, _ *table.Frame) bool {
			size := sizeOf(row)
			if gone+size > over {
				return true
			}
			gone += size
			return false
		})
		if err != nil {
			return 0, err
		}
		if found {
			p.keep.rows = rowBytes{logStart: first, deltaStart: b.DeltaStart, bytes: rows - gone, known: true}
			return first, nil
		}
		over -= gone
	}
	return topics.Excess(p.log, b, over)
}

// countRows returns what the rows take that consumers see.
func (p *Partition) countRows(b log.Bounds) (int64, error) {
	if b.LogStart >= b.DeltaStart {
		return 0, nil
	}
	if r := &p.keep.rows; r.known && r.logStart == b.LogStart && r.deltaStart == b.DeltaStart {
		return r.bytes, nil
	}
	bytes := int64(0)
	_, _, err := p.firstRow(b.LogStart, func(row *frame.Row, _ *table.Frame) bool {
		bytes += sizeOf(row)
		return false
	})
	if err == nil {
		p.keep.rows = rowBytes{logStart: b.LogStart, deltaStart: b.DeltaStart, bytes: bytes, known: true}
	}
	return bytes, err
}
