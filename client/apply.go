package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// apply takes a segment of the tail. It is called by the tail goroutine alone.
func (p *partition) apply(ctx context.Context, seg segment) {
	if p.mending.Load() {
		return // on its way since before; other partitions do not wait for the repair
	}
	if s, missing := p.missing(seg); missing {
		if err := p.deltasKept(ctx, s); err != nil {
			seg = segment{partition: p.no, err: err}
		}
		if ctx.Err() != nil {
			return
		}
	}
	p.mu.Lock()
	if g := p.gathering; g != nil && p.attached == p.generation {
		g.take(seg)
		p.mu.Unlock()
		p.moved.notify()
		return
	}
	if !p.following || p.attached != p.generation {
		p.mu.Unlock()
		return
	}
	if seg.err != nil {
		kind := OutOfRange
		if errors.Is(seg.err, errTopicReplace) || errors.Is(seg.err, plane.ErrOtherIncarnation) {
			kind = NewIncarnation
		}
		p.restartLocked(restart{event: kind, err: seg.err, resume: kind == OutOfRange})
		p.mu.Unlock()
		return
	}
	verdicts, why, err := p.applyLocked(seg)
	if err != nil {
		p.restartLocked(p.unapplied(err))
	}
	if len(verdicts) > 0 {
		p.checks.Add(1)
		defer p.checked()
	}
	p.mu.Unlock()
	p.moved.notify()
	p.r.changed.notify()
	p.publishAnd(why, verdicts)
}

// unapplied ends following where a segment, or what comes with a key frame, could not be applied. Stored rows that cannot be read are dealt with as the
// policy says: but for a report, since nothing can be applied to them.
func (p *partition) unapplied(err error) restart {
	why := restart{event: TailFailed, err: err, halt: true}
	if unreadable(err) {
		why.event, why.err = CorruptionFound, fmt.Errorf("%w: %w", ErrCorrupt, err)
		p.rotted(p.rows(), scrubbed{damage: why.err})
		switch p.r.cfg.OnDrift {
		case Repair:
			why.halt, why.repair = false, &repairOrder{rehash: true}
		case Rebootstrap:
			why.halt = false
		}
	}
	return why
}

// applyLocked folds a segment, stopping at the cut of each announced frame to compare with it. why says that it went no further than the last
// of these.
func (p *partition) applyLocked(seg segment) (verdicts []Verdict, why *restart, err error) {
	s := p.rows()
	var changed memory.Applied
	if s.perRecord() || p.watched {
		changed = p.recordLocked(s)
	}
	records := seg.records
	for {
		next, rest := seg.next, records[len(records):]
		if len(p.pending) > 0 && p.pending[0].Cut < seg.next {
			next = max(p.pending[0].Cut, s.position())
			n := 0
			for n < len(records) && records[n].Offset < next {
				n++
			}
			records, rest = records[:n], records[n:]
		}
		if err := s.apply(records, next, seg.epoch, changed); err != nil {
			return verdicts, nil, err
		}
		for len(p.pending) > 0 && p.pending[0].Cut <= next {
			f := p.pending[0]
			v, err := p.comparePendingLocked(s)
			if err != nil {
				return verdicts, nil, err
			}
			verdicts = append(verdicts, v)
			if why := p.stopHereLocked(f, v); why != nil {
				return verdicts, why, nil
			}
		}
		if records = rest; next >= seg.next {
			return verdicts, nil, nil
		}
	}
}

// recordLocked returns what keeps the ring and the history while records are applied to s. The log start is that of the change, not of the segment:
// rows leave at a cut within one.
func (p *partition) recordLocked(s rows) memory.Applied {
	id := s.identity()
	return func(offset int64, d digest.Digest, row *frame.Row) {
		if s.perRecord() {
			p.ring.add(offset+1, d)
		}
		if row != nil {
			p.history.add(toChange(id, row, Position{id.Incarnation, offset + 1, p.start.Load()}))
		}
	}
}

// comparePendingLocked compares with the lowest pending frame, whose cut is the position of s.
func (p *partition) comparePendingLocked(s rows) (Verdict, error) {
	f := p.pending[0]
	p.pending = p.pending[1:]
	p.compared = max(p.compared, f.Cut)
	expires := f.Start > p.start.Load() && s.position() == f.Cut
	if expires {
		stale, without, err := p.letExpireLocked(s, f, false)
		if err != nil {
			return Verdict{}, err
		}
		if stale {
			return p.verdict(f.Cut, Inconclusive, without, f.Digest, "the log start moved: rows expired", nil), nil
		}
	}
	d, at, err := s.digest()
	if err != nil {
		return Verdict{}, err
	}
	if expires || !s.perRecord() {
		p.ring.add(at, d) // also behind the last record: no record tells of rows that left
	}
	if at != f.Cut {
		p.askNow()
		return p.verdict(f.Cut, Inconclusive, d, f.Digest, fmt.Sprintf("position is %d when the frame is due", at), nil), nil
	}
	return p.judgeLocked(f, d), nil
}

func toChange(id identity, row *frame.Row, next Position) Change {
	return Change{
		Partition: id.Partition, Offset: row.Offset, Timestamp: row.Timestamp, Key: row.Key, Value: row.Value,
		Deleted: row.Tombstone, Next: next, start: next.Start,
	}
}
