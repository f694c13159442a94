package table

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Trim makes the frame at cut the oldest one. What only older frames had goes, in steps that each leave a table which reads the same:
//
//  1. One Ingest: the older frames leave the meta entry, the undo entries of the intervals before the cut and the deletion vectors
//     up to it are deleted, and the offsets of those vectors, dead for every frame from now on, are noted in their segments.
//  2. Segments at least half dead are rewritten, each run by one IngestAndExcise. Whoever reads skips dead rows, present or not.
//  3. One Ingest: the segments are described anew. Before it, they look half dead still, and the next Trim rewrites them again.
//
// Trim(oldest cut) does the second and third step alone, so that a caller who crashed may just call it again.
func (t *Table) Trim(ctx context.Context, cut int64) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	m := t.state.Load()
	i, ok := m.find(cut)
	if !ok {
		return fmt.Errorf("%w: %d of ordinal %d", ErrNoFrame, cut, t.ordinal)
	}
	if i > 0 || t.undead(m) {
		if err := t.forget(ctx, m, i); err != nil {
			return fmt.Errorf("table: trim of ordinal %d to %d: %w", t.ordinal, cut, err)
		}
	}
	if err := t.clean(ctx); err != nil {
		return fmt.Errorf("table: clean ordinal %d: %w", t.ordinal, err)
	}
	return nil
}

// undead tells whether the oldest frame was never trimmed to, so that vectors below it may be left: it is the first cut there was.
func (t *Table) undead(m *meta) bool {
	return len(m.trims) == 0 || m.trims[len(m.trims)-1].cut < m.frames[0].Cut
}

// forget is the first step.
func (t *Table) forget(ctx context.Context, old *meta, i int) error {
	m := old.clone()
	m.frames = slices.Delete(m.frames, 0, i)
	cut := m.frames[0].Cut
	m.starts = slices.DeleteFunc(m.starts, func(x StartMove) bool { return x.Cut <= cut })
	m.remember(trimmed{cut, t.db.cfg.Now().UnixMilli()})
	s := t.db.sink()
	defer s.discard()
	base, err := t.db.cfg.DB.NewIter(nil)
	if err != nil {
		return err
	}
	list, err := newVectorList(base, t.ordinal, cut)
	if err != nil {
		return damage.Join(err, base.Close())
	}
	err = t.markDead(s, list)
	if err = damage.Join(err, list.close(), base.Close()); err != nil {
		return err
	}
	from, _ := keys.TableSpan(keys.TableVectors, t.ordinal)
	s.deleteRange(keys.TableVectors, from, keys.AppendTableOffset(nil, keys.TableVectors, t.ordinal, cut+1))
	from, _ = keys.TableSpan(keys.TableUndo, t.ordinal)
	s.deleteRange(keys.TableUndo, from, keys.AppendTableOffset(nil, keys.TableUndo, t.ordinal, cut))
	t.putMeta(s, m)
	if err := s.commit(ctx, nil, t); err != nil {
		return err
	}
	t.state.Store(m)
	return nil
}

// markDead notes the offsets of the list in their segments. Memory: the dead offsets of one segment.
func (t *Table) markDead(s *sink, list *deadList) error {
	it, err := iterate(t.db.cfg.DB, keys.TableSegments, t.ordinal)
	if err != nil {
		return err
	}
	var dead []int64
	for ok := it.First(); ok && len(list.cursors) > 0; ok = it.Next() {
		g, err := t.segmentAt(it)
		if err != nil {
			return damage.Join(err, it.Close())
		}
		dead = dead[:0]
		err = list.below(g.hi, func(o int64) {
			if o >= g.lo {
				dead = append(dead, o)
			}
		})
		if err == nil && len(dead) > 0 {
			err = g.mark(t.ordinal, dead)
			putSegment(s, t.ordinal, &g)
		}
		if err != nil {
			return damage.Join(err, it.Close())
		}
	}
	return damage.Join(it.Error(), it.Close())
}

// mark adds dead offsets of the segment, in any order.
func (g *segment) mark(ordinal uint32, dead []int64) error {
	old, err := g.deadOffsets(ordinal)
	if err != nil {
		return err
	}
	all := append(old, dead...)
	slices.Sort(all)
	all = slices.Compact(all)
	g.dead = int64(len(all))
	g.vector = appendOffsets(nil, g.lo, all)
	return nil
}

func (g *segment) deadOffsets(ordinal uint32) (list []int64, err error) {
	o := newOffsets(g.lo, g.vector)
	for ; o.ok; o.next() {
		list = append(list, o.at)
	}
	if o.bad || int64(len(list)) != g.dead {
		return nil, &CorruptError{Ordinal: ordinal, What: "segment", Offset: g.lo, Why: "dead offsets malformed"}
	}
	return list, nil
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
		return fmt.Errorf("table: thin ordinal %d at %d: %w", t.ordinal, cut, err)
	}
	if err := s.commit(ctx, nil, t); err != nil {
		return fmt.Errorf("table: thin ordinal %d at %d: %w", t.ordinal, cut, err)
	}
	t.state.Store(m)
	return nil
}

func (t *Table) joinIntervals(s *sink, before, cut int64) error {
	from := keys.AppendTableOffset(nil, keys.TableUndo, t.ordinal, cut)
	it, err := t.db.cfg.DB.NewIter(undoSpan(t.ordinal, cut))
	if err != nil {
		return err
	}
	stays, err := t.db.cfg.DB.NewIter(undoSpan(t.ordinal, before))
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
