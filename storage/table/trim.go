package table

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Trim makes the frame at cut the oldest one. What only older frames had goes, in steps that each leave a table which reads the same:
//
//  1. One Ingest: the older frames leave the meta entry, the undo entries of the intervals before the cut and the deletion vectors
//     up to it are deleted, and the offsets of those vectors, dead for every frame from now on, are noted in their segments, as are those of
//     settled rows that older frames alone show. Such rows in TablePast leave with their eras.
//  2. Segments at least half dead are rewritten, as by Settle; where that fails, or the process ends, Settle may be due.
//
// Trim(oldest cut) does the second step alone, so that a caller who crashed may just call it again. The error is ErrCorrupt where a row or a block of the
// table itself is damaged. Where it is ErrTrimmed (too), the first step is done, and there is no need to call it again for that; else nothing has happened.
func (t *Table) Trim(ctx context.Context, cut int64) error {
	rows, err := t.trim(ctx, cut)
	if err != nil {
		return err
	}
	if err := t.clean(ctx, rows); err != nil {
		return fmt.Errorf("%w: clean ordinal %d: %w", ErrTrimmed, t.ordinal, err)
	}
	return nil
}

// trim is the first step, if it is to be done. rows is how many are out of the way behind the second.
func (t *Table) trim(ctx context.Context, cut int64) (rows int64, err error) {
	end, err := t.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	m := t.state.Load()
	i, ok := m.find(cut)
	if !ok {
		return 0, fmt.Errorf("%w: %d of ordinal %d", ErrNoFrame, cut, t.ordinal)
	}
	if i > 0 || t.undead(m) {
		if rows, err = t.forget(ctx, m, i); err != nil {
			return 0, fmt.Errorf("table: trim of ordinal %d to %d: %w", t.ordinal, cut, err)
		}
	}
	return rows, nil
}

// undead tells whether the oldest frame was never trimmed to, so that vectors below it may be left: it is the first cut there was.
func (t *Table) undead(m *meta) bool {
	return len(m.trims) == 0 || m.trims[len(m.trims)-1].cut < m.frames[0].Cut
}

// forget lets go of the frames before the i-th.
func (t *Table) forget(ctx context.Context, old *meta, i int) (rows int64, err error) {
	m := old.clone()
	m.frames = slices.Delete(m.frames, 0, i)
	cut := m.frames[0].Cut
	m.starts = slices.DeleteFunc(m.starts, func(x StartMove) bool { return x.Cut <= cut })
	m.remember(trimmed{cut, t.db.cfg.Now().UnixMilli()})
	s := t.db.sink()
	defer s.discard()
	x := marking{end: cut, name: func(int64, int64) int64 { return gone }}
	if m.past.settled > 0 {
		x.oldest = cut
	}
	rows, err = t.markDead(s, x)
	if err != nil {
		return 0, t.damaged(m.position, err)
	}
	from, _ := keys.TableSpan(keys.TableVectors, t.ordinal)
	s.deleteRange(keys.TableVectors, from, keys.AppendTableOffset(nil, keys.TableVectors, t.ordinal, cut+1))
	excised := t.dropEras(s, m.past.trim(cut))
	from, _ = keys.TableSpan(keys.TableUndo, t.ordinal)
	s.deleteRange(keys.TableUndo, from, keys.AppendTableOffset(nil, keys.TableUndo, t.ordinal, cut))
	t.putMeta(s, m)
	if err := s.commit(ctx, excised, t); err != nil {
		return 0, err
	}
	t.state.Store(m)
	return rows, nil
}

// dropEras deletes the first eras of TablePast.
func (t *Table) dropEras(s *sink, eras []int64) (excised *pebble.KeyRange) {
	if len(eras) == 0 {
		return nil
	}
	from, _ := keys.TableSpan(keys.TablePast, t.ordinal)
	return s.remove(keys.TablePast, pebble.KeyRange{Start: from, End: keys.AppendTablePast(nil, t.ordinal, eras[len(eras)-1]+1, 0)})
}

// Thin drops the frame at cut, between the oldest and the current table. The interval after it joins the one before: of the index
// entries that it kept, those stay whose keys the one before did not touch. Deletion vectors need no change: they are named by the
// ends of folds and not by frames.
func (t *Table) Thin(ctx context.Context, cut int64) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	old := t.state.Load()
	i, ok := old.find(cut)
	if !ok {
		return fmt.Errorf("%w: %d of ordinal %d", ErrNoFrame, cut, t.ordinal)
	}
	if i == 0 {
		return fmt.Errorf("%w: %d of ordinal %d", ErrOldestFrame, cut, t.ordinal)
	}
	m := old.clone()
	before := m.frames[i-1].Cut
	m.frames = slices.Delete(m.frames, i, i+1)
	s := t.db.sink()
	defer s.discard()
	t.putMeta(s, m)
	if err := t.joinIntervals(s, before, cut); err != nil {
		return fmt.Errorf("table: thin ordinal %d at %d: %w", t.ordinal, cut, t.damaged(m.position, err))
	}
	if err := s.commit(ctx, nil, t); err != nil {
		return fmt.Errorf("table: thin ordinal %d at %d: %w", t.ordinal, cut, err)
	}
	t.state.Store(m)
	return nil
}

func (t *Table) joinIntervals(s *sink, before, cut int64) error {
	from := keys.AppendTableOffset(nil, keys.TableUndo, t.ordinal, cut)
	it, err := t.db.iterateSpan(undoSpan(t.ordinal, cut))
	if err != nil {
		return err
	}
	stays, err := t.db.iterateSpan(undoSpan(t.ordinal, before))
	if err != nil {
		return damage.Join(err, it.Close())
	}
	w := newWalker(stays, 1, 0)
	k := keys.AppendTableUndo(nil, t.ordinal, before, nil)
	prefix := len(k)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var v []byte
		var touched bool
		k = append(k[:prefix], it.Key()[prefix:]...)
		if touched, err = w.find(k); err == nil && !touched {
			if v, err = it.ValueAndErr(); err == nil {
				s.set(keys.TableUndo, k, v)
			}
		}
	}
	if err = damage.Join(err, it.Error(), it.Close(), stays.Close()); err != nil {
		return err
	}
	s.deleteRange(keys.TableUndo, from, keys.AppendTableOffset(nil, keys.TableUndo, t.ordinal, cut+1))
	return nil
}
