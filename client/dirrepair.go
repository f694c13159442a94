package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

var errTwoCommits = errors.New("two commits of a partition at once")

// consolidate is one commit, in which the rows that the log start has passed leave too.
func (d *dirRows) consolidate(fr *frame.Reader, unproved, unread bool, within func(apply func(memory.Changed) error) error) error {
	if err := d.commit(); err != nil {
		return err
	}
	if err := d.s.gate.enter(); err != nil {
		return err
	}
	defer d.s.gate.leave()
	h := fr.Header()
	id := d.t.Identity()
	if h.TopicID != id.TopicID || h.Partition != id.Partition || h.Incarnation != id.Incarnation || h.Fold != id.Fold || h.Since != d.t.Position() {
		return fmt.Errorf("%w: rows since %d of partition %d of topic %x, incarnation %x, fold %v, for a state at %d", memory.ErrFrame,
			h.Since, h.Partition, h.TopicID, h.Incarnation, h.Fold, d.t.Position())
	}
	rows, err := readSince(fr)
	if err != nil {
		return fmt.Errorf("rows since %d at cut %d: %w", h.Since, h.Cut, err)
	}
	foot, ok := fr.Footer()
	pub := foot.Digest.Pub(digest.FrameID{TopicID: h.TopicID, Partition: h.Partition, Incarnation: h.Incarnation, Cut: h.Cut, Start: h.Start})
	if !ok || pub != foot.Pub {
		return fmt.Errorf("%w: cut %d: pub %x, the footer says %x", table.ErrDigest, h.Cut, pub, foot.Pub)
	}
	want := &foot.Digest
	if unproved {
		want = nil
	}
	return inside(within, func(changed memory.Changed) error { return d.commitSince(h, want, rows, unread, changed) })
}

// readSince reads a consolidated delta, in offset order. Memory: its size.
func readSince(fr *frame.Reader) (rows []frame.Row, err error) {
	err = eachSince(fr, func(row frame.Row) { rows = append(rows, row) })
	return rows, err
}

// eachSince visits the rows of a consolidated delta, in offset order; they stay as they are.
func eachSince(fr *frame.Reader, visit func(frame.Row)) error {
	last := fr.Header().Since - 1
	for {
		b, err := fr.Next(nil)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for row, err := range b.Rows() {
			if err != nil {
				return err
			}
			if row.Offset <= last || row.Offset >= fr.Header().Cut {
				return fmt.Errorf("%w: row at offset %d after %d", memory.ErrFrame, row.Offset, last)
			}
			last = row.Offset
			visit(row)
		}
	}
}

func (d *dirRows) commitSince(h frame.Header, want *digest.Digest, rows []frame.Row, unread bool, changed memory.Changed) error {
	changes := make([]table.Change, len(rows))
	for i := range rows {
		row := &rows[i]
		x := table.Delta{Delta: delta.Delta{Op: delta.Put, Key: row.Key, Value: row.Value, Headers: row.Headers}, Offset: row.Offset, Timestamp: row.Timestamp}
		if row.Tombstone {
			x.Op = delta.Delete
		}
		changes[i] = table.Change{Key: row.Key, Deltas: []table.Delta{x}, Folded: true}
	}
	slices.SortFunc(changes, func(a, b table.Change) int { return bytes.Compare(a.Key, b.Key) })
	for i := 1; i < len(changes); i++ {
		if bytes.Equal(changes[i-1].Key, changes[i].Key) {
			return fmt.Errorf("%w: a key twice, at offsets %d and %d", memory.ErrFrame, changes[i-1].Deltas[0].Offset, changes[i].Deltas[0].Offset)
		}
	}
	var gone []frame.Row
	var err error
	if changed != nil && h.Start > d.t.Start() {
		if gone, err = d.expiring(h.Start, unread, changes); err != nil {
			return err
		}
	}
	f, finish, ok := d.p.StartConsolidated(changes, h.Cut, h.Start)
	if !ok {
		return errTwoCommits
	}
	f.Expect, f.Unread = want, unread
	ctx := context.Background() // a commit under way is finished
	err = d.s.db.Commit(ctx, []table.Fold{f})
	finish(err)
	if err != nil {
		return err
	}
	d.committed = d.s.cfg.Now()
	if changed != nil {
		for i := range rows {
			changed(rows[i], false)
		}
		for i := range gone {
			changed(gone[i], true)
		}
	}
	if f.Cut {
		return d.trimmed(f.End, unread)
	}
	return nil
}

// expiring lists the rows below a log start whose keys are not among sorted changes, in offset order. unread is that of leaving.
func (d *dirRows) expiring(start int64, unread bool, changes []table.Change) (gone []frame.Row, err error) {
	v, err := d.t.View(table.Current)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	rows := v.Offsets(0, false)
	if unread {
		rows = d.leaving(start, true)
	}
	for row, err := range rows {
		if err != nil {
			return nil, err
		}
		if row.Offset >= start {
			break
		}
		_, replaced := slices.BinarySearchFunc(changes, row.Key, func(c table.Change, k []byte) int { return bytes.Compare(c.Key, k) })
		if !replaced {
			gone = append(gone, kept(row))
		}
	}
	slices.SortFunc(gone, func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	return gone, nil
}

// patch gives up the past first, which a replica needs not: rows are stored below the position.
func (d *dirRows) patch(puts []frame.Row, deletes [][]byte, want digest.Digest) error {
	if err := d.s.gate.enter(); err != nil {
		return err
	}
	defer d.s.gate.leave()
	f, finish, ok := d.p.StartFold(true)
	if !ok {
		return errTwoCommits
	}
	ctx := context.Background() // a commit under way is finished
	err := d.s.db.Commit(ctx, []table.Fold{f})
	finish(err)
	if err != nil {
		return err
	}
	d.committed = d.s.cfg.Now()
	lost := d.lost.spans
	// Behind the trim it may have met what is lost.
	if err := d.t.Trim(ctx, f.End); err != nil && (len(lost) == 0 || !errors.Is(err, table.ErrTrimmed)) {
		return err
	}
	if err := d.p.Patch(ctx, puts, deletes, lost, want); err != nil {
		return err
	}
	d.lost = lostRows{}
	return nil
}

func (d *dirRows) entries(visit func(key []byte, e digest.Entry)) (kept digest.Digest, at int64, err error) {
	if err := d.s.gate.enter(); err != nil {
		return kept, at, err
	}
	defer d.s.gate.leave()
	v, err := d.t.View(table.Current)
	if err != nil {
		return kept, at, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	kept, at = v.Frame().Digest, v.End()
	var h digest.Hasher
	for row, err := range v.Offsets(0, false) {
		if err != nil {
			return kept, at, err
		}
		if d.s.gate.closing.Load() {
			return kept, at, ErrClosed
		}
		visit(row.Key, h.Entry(row.Key, row.Value))
	}
	return kept, at, nil
}

func (d *dirRows) reindex() (done bool, err error) {
	if err := d.s.gate.enter(); err != nil {
		return false, err
	}
	defer d.s.gate.leave()
	ctx := context.Background()
	if err := d.t.VerifyIndex(ctx); !unreadable(err) {
		return false, err
	}
	err = d.t.Reindex(ctx)
	return err == nil, err
}

// lostRows are where rows cannot be read of a table as it stands.
type lostRows struct {
	of    table.Frame
	spans []table.Span
}

// salvage remembers what it passed by until the patch that brings it back; while the rows are the same, a second call does not try it again.
func (d *dirRows) salvage(visit func(key []byte, e digest.Entry), lost func(table.LostRow)) (kept digest.Digest, at int64, err error) {
	return d.salvageFrom(0, visit, lost)
}

// salvageFrom is salvage without the rows whose last delta lies below an offset.
func (d *dirRows) salvageFrom(from int64, visit func(key []byte, e digest.Entry), lost func(table.LostRow)) (kept digest.Digest, at int64, err error) {
	if err := d.s.gate.enter(); err != nil {
		return kept, at, err
	}
	defer d.s.gate.leave()
	var h digest.Hasher
	if now, _, _ := d.t.Standing(); now != d.lost.of {
		d.lost = lostRows{}
	}
	f, spans, err := d.t.Salvage(d.lost.spans, func(row *frame.Row) error {
		if d.s.gate.closing.Load() {
			return ErrClosed
		}
		if row.Offset >= from {
			visit(row.Key, h.Entry(row.Key, row.Value))
		}
		return nil
	}, func(row table.LostRow) error {
		if row.Offset >= from {
			lost(row)
		}
		return nil
	})
	if d.lost = (lostRows{}); err == nil {
		d.lost = lostRows{f, spans}
	}
	return f.Digest, f.Cut, err
}

// appliedByKey yields what was applied of each row whose last delta lies at an offset or above, by key, as the index has it: no row is read.
func (d *dirRows) appliedByKey(from int64) iter.Seq2[entryOfKey, error] {
	return func(yield func(entryOfKey, error) bool) {
		d.yieldApplied(func(row *table.LostRow, err error) bool {
			return err == nil && row.Offset < from || yield(entryOfKey{row.Key, row.Entry}, err)
		})
	}
}
