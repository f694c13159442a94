package table

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

func undoSpan(ordinal uint32, cut int64) *pebble.IterOptions {
	return &pebble.IterOptions{
		LowerBound: keys.AppendTableOffset(nil, keys.TableUndo, ordinal, cut),
		UpperBound: keys.AppendTableOffset(nil, keys.TableUndo, ordinal, cut+1),
	}
}

// segmentAt decodes the segment that an iterator stands at.
func (t *Table) segmentAt(it *pebble.Iterator) (segment, error) {
	lo, ok := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
	if !ok {
		return segment{}, &CorruptError{Ordinal: t.ordinal, What: "key", Offset: -1, Why: "malformed"}
	}
	v, err := it.ValueAndErr()
	if err != nil {
		return segment{}, fmt.Errorf("table: read segments of ordinal %d: %w", t.ordinal, err)
	}
	return decodeSegment(t.ordinal, lo, v)
}

// clean rewrites runs of neighbouring segments that are at least half dead, and joins small neighbours. Memory: the dead offsets of
// one run, and one description per segment.
func (t *Table) clean(ctx context.Context) error {
	segments, err := t.segments()
	if err != nil {
		return err
	}
	s := t.db.sink()
	defer s.discard()
	changed := false
	for len(segments) > 0 {
		n := t.db.sizes.due(segments)
		if n == 0 {
			segments = segments[1:]
			continue
		}
		joined, err := t.rewrite(ctx, segments[:n])
		if err != nil {
			return err
		}
		for i, g := range segments[:n] {
			if i > 0 || joined.rows == 0 {
				s.delete(keys.TableSegments, keys.AppendTableOffset(nil, keys.TableSegments, t.ordinal, g.lo))
			} else {
				putSegment(s, t.ordinal, &joined)
			}
		}
		changed = true
		segments = segments[n:]
	}
	if !changed {
		return nil
	}
	return s.commit(ctx, nil, t)
}

// segments reads the descriptions, without the dead offsets.
func (t *Table) segments() (list []segment, err error) {
	it, err := iterate(t.db.cfg.DB, keys.TableSegments, t.ordinal)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		g, err := t.segmentAt(it)
		if err != nil {
			return nil, damage.Join(err, it.Close())
		}
		g.vector = nil
		list = append(list, g)
	}
	return list, damage.Join(it.Error(), it.Close())
}

// due returns how many segments from the first on are to be rewritten as one.
func (z *sizes) due(list []segment) int {
	n, rows := 0, int64(0)
	for n < len(list) && list[n].dead*2 >= list[n].rows && rows < z.cleanRows {
		rows += list[n].rows
		n++
	}
	if n > 0 {
		return n
	}
	for n < len(list) && n < smallRun && list[n].rows < z.smallRows {
		n++
	}
	if n < smallRun {
		return 0
	}
	return n
}

// rewrite replaces the rows of a run of segments by those that live. The rows are the only copy there is: one that cannot be read,
// or is not there, ends the rewrite before anything is removed.
func (t *Table) rewrite(ctx context.Context, run []segment) (joined segment, err error) {
	joined = segment{lo: run[0].lo, hi: run[len(run)-1].hi}
	span := pebble.KeyRange{
		Start: keys.AppendTableOffset(nil, keys.TableRows, t.ordinal, joined.lo),
		End:   keys.AppendTableOffset(nil, keys.TableRows, t.ordinal, joined.hi),
	}
	var dead []int64 // ascending, as the segments are
	want, stored := int64(0), int64(0)
	for _, g := range run {
		list, err := t.deadOf(g)
		if err != nil {
			return joined, err
		}
		dead = append(dead, list...)
		want += g.rows - g.dead
		stored += g.rows
	}
	s := t.db.sink()
	defer s.discard()
	it, err := t.db.cfg.DB.NewIter(&pebble.IterOptions{LowerBound: span.Start, UpperBound: span.End})
	if err != nil {
		return joined, err
	}
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		offset, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
		for len(dead) > 0 && dead[0] < offset { // not there any more: a rewrite that was not noted
			dead = dead[1:]
		}
		if good && len(dead) > 0 && dead[0] == offset {
			continue
		}
		var v []byte
		if v, err = it.ValueAndErr(); err == nil {
			_, err = decodeRow(t.ordinal, offset, v)
		}
		s.set(keys.TableRows, it.Key(), v)
		joined.rows++
	}
	if err = damage.Join(err, it.Error(), it.Close()); err != nil {
		return joined, err
	}
	if joined.rows != want {
		return joined, &CorruptError{Ordinal: t.ordinal, What: "segment", Offset: joined.lo,
			Why: fmt.Sprintf("%d rows live, want %d of %d", joined.rows, want, stored)}
	}
	if err := s.finish(); err != nil { // the slow part, while readers may still come
		return joined, fmt.Errorf("table: write sstable: %w", err)
	}
	return joined, s.commit(ctx, &span, t)
}

// deadOf reads a segment's dead offsets.
func (t *Table) deadOf(g segment) ([]int64, error) {
	v, c, err := t.db.cfg.DB.Get(keys.AppendTableOffset(nil, keys.TableSegments, t.ordinal, g.lo))
	if err != nil {
		return nil, fmt.Errorf("table: read segment at %d of ordinal %d: %w", g.lo, t.ordinal, err)
	}
	defer c.Close()
	stored, err := decodeSegment(t.ordinal, g.lo, v)
	if err != nil {
		return nil, err
	}
	return stored.deadOffsets(t.ordinal)
}
