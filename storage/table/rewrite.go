package table

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rewriter replaces the rows of a run of segments by those that live, with one Ingest that removes what was there (see sink.remove): settled rows that somebody
// still needs go to TablePast, and the run becomes one segment. The rows are the only copy there is: one that cannot be read, or is not there, ends it before
// anything is removed.
type rewriter struct {
	t       *Table
	m       *meta
	s       *sink
	los     []int64 // of the segments
	hi      int64
	dead    []deadRow // ascending, as the segments are
	live    int64     // rows that are to be there
	settled int64
}

// take reads what the segments have dead; false: these are no neighbours any more.
func (w *rewriter) take(run []segment) (there bool, err error) {
	it, err := w.t.db.iterate(keys.TableSegments, w.t.ordinal)
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	ok := it.SeekGE(keys.AppendTableOffset(nil, keys.TableSegments, w.t.ordinal, run[0].lo))
	for _, r := range run {
		if !ok {
			return false, damage.Of(it.Error())
		}
		g, err := w.t.segmentAt(it)
		if err != nil || g.lo != r.lo || g.hi != r.hi {
			return false, err
		}
		list, err := g.list(w.t.ordinal)
		if err != nil {
			return false, err
		}
		w.los, w.hi = append(w.los, g.lo), g.hi
		w.dead = append(w.dead, list...)
		w.live += g.rows - g.deadRows()
		w.settled += g.settled
		ok = it.Next()
	}
	return true, nil
}

func (w *rewriter) run(ctx context.Context) error {
	span := pebble.KeyRange{
		Start: keys.AppendTableOffset(nil, keys.TableRows, w.t.ordinal, w.los[0]),
		End:   keys.AppendTableOffset(nil, keys.TableRows, w.t.ordinal, w.hi),
	}
	excised := w.s.remove(keys.TableRows, span)
	it, err := w.t.db.iterateSpan(span.Start, span.End)
	if err != nil {
		return err
	}
	live, settled, err := w.rows(it)
	if err = damage.Join(err, it.Error(), it.Close()); err != nil {
		return w.t.damaged(w.m.position, err)
	}
	if live != w.live || settled != w.settled {
		return &CorruptError{Ordinal: w.t.ordinal, What: "segment", Offset: w.los[0],
			Why: fmt.Sprintf("%d rows live and %d are settled, want %d and %d", live, settled, w.live, w.settled)}
	}
	for i, lo := range w.los {
		if i > 0 || live == 0 {
			w.s.delete(keys.TableSegments, keys.AppendTableOffset(nil, keys.TableSegments, w.t.ordinal, lo))
		} else {
			putSegment(w.s, w.t.ordinal, &segment{lo: lo, hi: w.hi, rows: live})
		}
	}
	if err := w.s.finish(); err != nil { // the slow part, while readers may still come
		return fmt.Errorf("table: write sstable: %w", err)
	}
	return w.s.commit(ctx, excised, w.t)
}

// rows writes the rows to where they belong from now on.
func (w *rewriter) rows(it *spanIter) (live, settled int64, err error) {
	var k []byte
	dead := w.dead
	for ok := it.First(); ok; ok = it.Next() {
		offset, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
		if !good {
			return live, settled, &CorruptError{Ordinal: w.t.ordinal, What: "key", Offset: -1, Why: "malformed"}
		}
		for len(dead) > 0 && dead[0].offset < offset { // one that is gone may be missing
			dead = dead[1:]
		}
		superseded := len(dead) > 0 && dead[0].offset == offset
		if superseded && dead[0].cut == gone {
			continue
		}
		v, err := it.ValueAndErr()
		if err == nil {
			_, err = decodeRow(w.t.ordinal, offset, v)
		}
		switch {
		case err != nil:
			return live, settled, err
		case !superseded:
			live++
			w.s.set(keys.TableRows, it.Key(), v)
			continue
		}
		settled++
		if !w.m.needs(dead[0]) {
			continue
		}
		n := len(w.m.past.eras)
		if n == 0 {
			return live, settled, &CorruptError{Ordinal: w.t.ordinal, What: "segment", Offset: offset, Why: "a settled row, and no era for it"}
		}
		k = keys.AppendTablePast(k[:0], w.t.ordinal, w.m.past.eras[n-1], offset)
		w.s.set(keys.TablePast, appendCut(k, dead[0].cut), v)
	}
	return live, settled, nil
}
