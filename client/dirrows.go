package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	// trimCommits is after how many commits the rows that were overwritten since are given back.
	trimCommits = 16
	// tombstonesKept is how long a deletion stays known to watchers that resume.
	tombstonesKept = 24 * time.Hour
)

// dirRows is a table with its open interval. Commits come when the interval is at its bound, after CommitInterval, and where a digest
// is asked for.
type dirRows struct {
	s *dirStores
	t *table.Table
	p *live.Partition

	// Of the writer.
	committed time.Time
	commits   int
	lost      lostRows // that a repair found, while nothing is applied
}

func (d *dirRows) identity() identity {
	id := d.t.Identity()
	return identity{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation}
}

func (d *dirRows) position() int64 { return d.p.Position() }
func (d *dirRows) epoch() int32    { return d.p.LeaderEpoch() }
func (d *dirRows) perRecord() bool { return false }

func (d *dirRows) digest() (digest.Digest, int64, error) {
	err := d.commit()
	return d.t.Digest(), d.t.Position(), err
}

// commit stores rows, position and digest of everything applied, as one.
func (d *dirRows) commit() error {
	if err := d.s.gate.enter(); err != nil {
		return err
	}
	defer d.s.gate.leave()
	if d.p.Position() == d.t.Position() {
		return nil
	}
	d.commits++
	trim := d.commits%trimCommits == 0
	f, finish, ok := d.p.StartFold(trim)
	if !ok {
		return errors.New("two commits of a partition at once")
	}
	ctx := context.Background() // a commit under way is finished
	err := d.s.db.Commit(ctx, []table.Fold{f})
	finish(err)
	d.committed = d.s.cfg.Now()
	if err == nil && trim {
		err = d.t.Trim(ctx, f.End)
		if err == nil {
			_, err = d.t.ExpireTombstones(ctx, d.committed.Add(-tombstonesKept).UnixMilli())
		}
	}
	return err
}

// expire commits what is applied together with the log start, at a cut; at the newest where nothing was applied since.
func (d *dirRows) expire(start int64, unread bool, gone func(frame.Row)) error {
	if gone != nil {
		if err := d.tellLeaving(start, unread, gone); err != nil {
			return err
		}
	}
	if err := d.s.gate.enter(); err != nil {
		return err
	}
	defer d.s.gate.leave()
	start = min(start, d.p.Position())
	for before := int64(-1); d.t.Start() < start && d.t.Start() > before; { // several times where very many leave
		before = d.t.Start()
		f, finish, ok := d.p.StartCut(start)
		if !ok {
			return errors.New("two commits of a partition at once")
		}
		f.Unread = unread
		ctx := context.Background() // a commit under way is finished
		err := d.s.db.Commit(ctx, []table.Fold{f})
		finish(err)
		d.committed = d.s.cfg.Now()
		if err == nil {
			err = d.trimmed(f.End, unread)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// trimmed gives up the past below a cut; unread: what cannot be read is left as it is.
func (d *dirRows) trimmed(cut int64, unread bool) error {
	err := d.t.Trim(context.Background(), cut)
	if unread && unreadable(err) {
		return nil
	}
	return err
}

func (d *dirRows) logStart() int64 { return d.t.Start() }
func (d *dirRows) kind() fold.Kind { return d.t.Identity().Fold }

func (d *dirRows) apply(records []batch.Record, next int64, epoch int32, changed memory.Applied) error {
	position := d.p.Position()
	if next <= position {
		return nil
	}
	err := d.p.ApplyRecords(records, next, epoch)
	if errors.Is(err, live.ErrFull) {
		if err = d.commit(); err == nil {
			err = d.p.ApplyRecords(records, next, epoch)
		}
	}
	if err != nil {
		return err
	}
	if changed != nil {
		if err := d.tell(records, position, changed); err != nil {
			return err
		}
	}
	if d.p.IntervalBytes() >= d.s.cfg.CommitBytes || d.s.cfg.Now().Sub(d.committed) >= d.s.cfg.CommitInterval {
		return d.commit()
	}
	return nil
}

// tell reads the keys that the records touched, each once, as they are now, in the order of their last record.
func (d *dirRows) tell(records []batch.Record, from int64, changed memory.Applied) error {
	seen := make(map[string]bool, len(records))
	var last []*batch.Record
	for i := len(records) - 1; i >= 0 && records[i].Offset >= from; i-- {
		if r := &records[i]; r.Key != nil && !seen[string(r.Key)] {
			seen[string(r.Key)] = true
			last = append(last, r)
		}
	}
	slices.SortFunc(last, func(a, b *batch.Record) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, r := range last {
		row, _, ok, err := d.p.Get(r.Key)
		switch {
		case err != nil:
			return err
		case !ok:
			row = frame.Row{Key: bytes.Clone(r.Key), Tombstone: true, Offset: r.Offset, Timestamp: r.Timestamp}
		case row.Offset < from:
			continue // the fold skipped it
		}
		changed(r.Offset, digest.Digest{}, &row)
	}
	return nil
}

func (d *dirRows) get(key []byte) (frame.Row, bool, error) {
	if err := d.s.gate.enter(); err != nil {
		return frame.Row{}, false, err
	}
	defer d.s.gate.leave()
	row, _, ok, err := d.p.Get(key)
	return row, ok, err
}

func (d *dirRows) scan(prefix, after []byte) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		if err := d.s.gate.enter(); err != nil {
			yield(frame.Row{}, err)
			return
		}
		defer d.s.gate.leave()
		_, rows, _, err := d.p.Scan(prefix, after)
		if err != nil {
			yield(frame.Row{}, err)
			return
		}
		d.yieldRows(rows, yield)
	}
}

// yieldRows hands copies of rows on until the store closes.
func (d *dirRows) yieldRows(rows iter.Seq2[frame.Row, error], yield func(frame.Row, error) bool) {
	for row, err := range rows {
		if d.s.gate.closing.Load() {
			yield(frame.Row{}, ErrClosed)
			return
		}
		if !yield(kept(row), err) {
			return
		}
	}
}

// kept copies a row that is valid until the next only.
func kept(row frame.Row) frame.Row {
	row.Key, row.Value, row.Headers = bytes.Clone(row.Key), bytes.Clone(row.Value), batch.Headers(bytes.Clone(row.Headers))
	return row
}

func (d *dirRows) all() iter.Seq2[frame.Row, error] { return d.scan(nil, nil) }

// since reads the table's rows in offset order, tombstones down to the horizon.
func (d *dirRows) since(from int64, tombstones bool) (iter.Seq2[frame.Row, error], bool, error) {
	if err := d.commit(); err != nil {
		return nil, false, err
	}
	if err := d.s.gate.enter(); err != nil {
		return nil, false, err
	}
	v, err := d.t.View(table.Current)
	if err != nil {
		d.s.gate.leave()
		return nil, false, err
	}
	if tombstones && from < v.Horizon() {
		defer d.s.gate.leave()
		return nil, false, v.Close()
	}
	return func(yield func(frame.Row, error) bool) {
		defer d.s.gate.leave()
		defer v.Close()
		d.yieldRows(v.Offsets(from, tombstones), yield)
	}, tombstones, nil
}

func (d *dirRows) scrub() (stored, kept digest.Digest, at int64, err error) {
	if err := d.s.gate.enter(); err != nil {
		return stored, kept, at, err
	}
	defer d.s.gate.leave()
	kept, at = d.t.Digest(), d.t.Position()
	if stored, err = d.t.Verify(context.Background(), table.Current); err == nil {
		err = d.t.VerifyIndex(context.Background())
	}
	switch {
	case err == nil:
		kept = stored // a commit may have come between
	case errors.Is(err, table.ErrDigest):
		err = nil
	}
	return stored, kept, at, err
}

func (d *dirRows) remember(distrusted int64) error { return d.s.remember(d.t, distrusted) }
func (d *dirRows) close() error                    { return d.commit() }
func (d *dirRows) discard() error                  { return d.s.db.Drop(context.Background(), d.t.Ordinal()) }
