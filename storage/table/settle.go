package table

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// settleShare: one in so many rows, and no fewer than sizes.settleRows, is superseded before Settle is due. A reader of the newest frame passes by them.
const settleShare = 8

// SettleDue tells whether it is time for Settle.
func (t *Table) SettleDue() bool {
	m := t.state.Load()
	n := m.past.unsettled
	return n == uncounted || n >= t.db.sizes.settleRows && n >= m.digest.Count/settleShare
}

// Settle takes what was superseded out of the way of whoever reads the newest frame, or the current table: these then read no more than two rows for each
// that they show, whatever the history. All frames stay as they are.
//
//  1. One Ingest: what the deletion vectors list is noted in the segments instead. Of folds up to the newest cut that is each offset, under the newest
//     retained cut below the end of its fold, since just the frames up to that one may show it. Of later folds it is what came and went above the newest
//     cut: it is gone; what the newest frame shows stays in the vector until the next cut, so that this frame has nothing to look for in TablePast,
//     and so does what left at a cut that was thinned.
//     Where the log start has moved at a cut to which was trimmed, what left there stays too: no cut is below, and View.Left has to tell it from what
//     left before the trim.
//  2. Segments at least half dead are rewritten (see rewriter), each run by one Ingest: so in all a superseded row is moved once, and with it
//     one that lives.
//  3. One Ingest: it is noted that it was done. Till then Settle is due, also where it failed, or the process has ended.
//
// The error is ErrCorrupt where a row or a block of the table itself is damaged.
func (t *Table) Settle(ctx context.Context) error {
	rows, err := t.settle(ctx)
	if err != nil {
		return fmt.Errorf("table: settle ordinal %d: %w", t.ordinal, err)
	}
	if err := t.clean(ctx, rows); err != nil {
		return fmt.Errorf("table: clean ordinal %d: %w", t.ordinal, err)
	}
	return nil
}

// settle is the first step. rows is how many are out of the way behind the second.
func (t *Table) settle(ctx context.Context) (rows int64, err error) {
	end, err := t.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	old := t.state.Load()
	if old.past.unsettled == 0 {
		return 0, nil
	}
	cut, _ := old.lastCut()
	m := old.clone()
	s := t.db.sink()
	defer s.discard()
	first, from := m.trimmedTo()+1, max(cut, m.start)
	n, err := t.markDead(s, marking{first: first, end: m.position, name: func(offset, end int64) int64 {
		switch {
		case end <= cut:
			return m.label(offset, end)
		case offset >= from:
			return gone
		}
		return stays
	}})
	if err == nil {
		err = t.cutVectors(s, first, cut, from)
	}
	if err != nil {
		return 0, t.damaged(m.position, err)
	}
	m.past.settle(cut, n)
	t.putMeta(s, m)
	if err := s.commit(ctx, nil, t); err != nil {
		return 0, err
	}
	t.state.Store(m)
	return m.past.unsettled, nil
}

// stays stands for the cut of a row that no segment names yet.
const stays = int64(-2)

// cutVectors deletes the vectors of folds that ended in [first, cut], and of later ones what they list from an offset on.
func (t *Table) cutVectors(s *sink, first, cut, from int64) (err error) {
	key := func(end, offset int64) []byte { return keys.AppendTableVector(nil, t.ordinal, end, offset) }
	if first <= cut {
		s.deleteRange(keys.TableVectors, key(first, 0), key(cut+1, 0))
	}
	it, err := t.db.iterate(keys.TableVectors, t.ordinal)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	for fold := max(first, cut+1); it.SeekGE(key(fold, 0)); fold++ {
		at, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
		if !good {
			return &CorruptError{Ordinal: t.ordinal, What: "key", Offset: -1, Why: "malformed"}
		}
		fold = at
		if it.SeekLT(key(fold, from)) && bytes.HasPrefix(it.Key(), key(fold, 0)[:keys.TablePrefixLen+8]) {
			if err := t.cutPiece(s, it, from); err != nil {
				return err
			}
		}
		if it.SeekGE(key(fold, from)) && bytes.HasPrefix(it.Key(), key(fold, 0)[:keys.TablePrefixLen+8]) {
			s.deleteRange(keys.TableVectors, key(fold, from), key(fold+1, 0))
		}
	}
	return damage.Of(it.Error())
}

// cutPiece leaves of the piece of a vector that an iterator stands at what lies below an offset.
func (t *Table) cutPiece(s *sink, it *spanIter, from int64) error {
	first, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen+8:])
	if !good {
		return &CorruptError{Ordinal: t.ordinal, What: "key", Offset: -1, Why: "malformed"}
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return damage.Of(err)
	}
	v, err = unseal(t.ordinal, "deletion vector", first, v, vectorVersion)
	if err != nil {
		return err
	}
	o := newOffsets(first, v)
	var kept []int64
	for ; o.ok && o.at < from; o.next() {
		kept = append(kept, o.at)
	}
	switch {
	case o.bad:
		return &CorruptError{Ordinal: t.ordinal, What: "deletion vector", Offset: o.at, Why: "malformed"}
	case o.ok:
		s.set(keys.TableVectors, it.Key(), appendPiece(nil, kept))
	}
	return nil
}

// label names the row at an offset that the fold ending at end superseded by the newest frame that may show it.
func (m *meta) label(offset, end int64) (cut int64) {
	d := deadRow{offset: offset}
	if cut, ok := m.greatest(end - 1); ok {
		d.cut = cut
	}
	if !m.needs(d) {
		return gone
	}
	return d.cut
}

// needs tells whether somebody reads a settled row: the newest of the retained frames that it is named by, or View.Left.
func (m *meta) needs(d deadRow) bool {
	cut, ok := m.greatest(d.cut)
	return ok && d.offset < cut || d.offset < m.start
}

// marking is what becomes of dead rows.
type marking struct {
	first  int64 // the vectors of folds that ended in [first, end] go
	end    int64
	name   func(offset, end int64) (cut int64) // what their rows are named by in the segments from then on; stays: by nothing
	oldest int64                               // settled rows of lower cuts are gone
}

// markDead notes what vectors list in the segments instead, and returns how many offsets that are. Memory: the dead offsets of one segment.
func (t *Table) markDead(s *sink, x marking) (n int64, err error) {
	base, err := t.db.cfg.DB.NewIter(nil)
	if err != nil {
		return 0, fmt.Errorf("table: %w", err)
	}
	defer func() { err = damage.Join(err, base.Close()) }()
	list, err := newVectorList(base, t.ordinal, x.first, x.end)
	if err != nil {
		return 0, err
	}
	defer func() { err = damage.Join(err, list.close()) }()
	it, err := t.db.iterate(keys.TableSegments, t.ordinal)
	if err != nil {
		return 0, err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	var dead []deadRow
	for ok := it.First(); ok && (len(list.cursors) > 0 || x.oldest > 0); ok = it.Next() {
		g, err := t.segmentAt(it)
		if err != nil {
			return n, err
		}
		dead = dead[:0]
		stray := int64(gone)
		err = list.below(g.hi, func(o, end int64) {
			if cut := x.name(o, end); cut != stays {
				dead = append(dead, deadRow{o, cut})
			}
			if o < g.lo {
				stray = o
			}
		})
		if err == nil && stray != gone {
			err = unknownRow(t.ordinal, stray)
		}
		n += int64(len(dead))
		if err == nil && (len(dead) > 0 || len(g.dead.cuts) > 0 && g.dead.cuts[0] < x.oldest) {
			err = g.note(t.ordinal, dead, x.oldest)
			putSegment(s, t.ordinal, &g)
		}
		if err != nil {
			return n, err
		}
	}
	if err := damage.Of(it.Error()); err != nil {
		return n, err
	}
	if len(list.cursors) > 0 {
		return n, unknownRow(t.ordinal, list.cursors[0].at)
	}
	return n, nil
}

func unknownRow(ordinal uint32, offset int64) error {
	return &CorruptError{Ordinal: ordinal, What: "deletion vector", Offset: offset, Why: "lists a row that is in no segment"}
}

// note adds dead rows, in any order, to those of a segment, of which those of cuts below oldest are gone.
func (s *segment) note(ordinal uint32, dead []deadRow, oldest int64) error {
	list, err := s.list(ordinal)
	if err != nil {
		return err
	}
	slices.SortFunc(dead, func(a, b deadRow) int { return cmp.Compare(a.offset, b.offset) })
	all := make([]deadRow, 0, len(list)+len(dead))
	for _, d := range list {
		n := 0
		for n < len(dead) && dead[n].offset < d.offset {
			n++
		}
		if all, dead = append(all, dead[:n]...), dead[n:]; d.cut < oldest {
			d.cut = gone
		}
		all = append(all, d)
	}
	s.setDead(append(all, dead...))
	return nil
}
