package table

import (
	"context"
	"fmt"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// undoSpan is the interval that follows the frame at cut.
func undoSpan(ordinal uint32, cut int64) (lower, upper []byte) {
	return keys.AppendTableOffset(nil, keys.TableUndo, ordinal, cut), keys.AppendTableOffset(nil, keys.TableUndo, ordinal, cut+1)
}

// segmentAt decodes the segment that an iterator stands at.
func (t *Table) segmentAt(it *spanIter) (segment, error) {
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

// clean rewrites runs of neighbouring segments that are at least half dead, and joins small neighbours. Between two runs the table is free for
// others to write to. Then it notes that so many rows are out of the way. Memory: the dead offsets of one run, and one description per segment.
func (t *Table) clean(ctx context.Context, rows int64) error {
	segments, err := t.segmentsNow(ctx)
	if err != nil {
		return err
	}
	for len(segments) > 0 {
		n := t.db.sizes.due(segments)
		if n == 0 {
			segments = segments[1:]
			continue
		}
		if err := t.rewriteRun(ctx, segments[:n]); err != nil {
			return err
		}
		segments = segments[n:]
	}
	if rows == 0 {
		return nil
	}
	return t.cleaned(ctx, rows)
}

func (t *Table) cleaned(ctx context.Context, rows int64) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	m := t.state.Load().clone()
	m.past.clean(rows)
	s := t.db.sink()
	t.putMeta(s, m)
	if err := s.commit(ctx, nil, t); err != nil {
		return err
	}
	t.state.Store(m)
	return nil
}

// rewriteRun rewrites a run of segments, if they are all there still.
func (t *Table) rewriteRun(ctx context.Context, run []segment) error {
	end, err := t.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	w := rewriter{t: t, m: t.state.Load(), s: t.db.sink()}
	defer w.s.discard()
	if there, err := w.take(run); err != nil || !there {
		return t.damaged(w.m.position, err)
	}
	return w.run(ctx)
}

// segmentsNow is segments while nobody writes.
func (t *Table) segmentsNow(ctx context.Context) ([]segment, error) {
	end, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	list, err := t.segments()
	return list, t.damaged(t.Position(), err)
}

// segments reads the descriptions, without the dead offsets.
func (t *Table) segments() (list []segment, err error) {
	it, err := t.db.iterate(keys.TableSegments, t.ordinal)
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		g, err := t.segmentAt(it)
		if err != nil {
			return nil, damage.Join(err, it.Close())
		}
		g.dead = deadCode{}
		list = append(list, g)
	}
	return list, damage.Join(it.Error(), it.Close())
}

// due returns how many segments from the first on are to be rewritten as one.
func (z *sizes) due(list []segment) int {
	n, rows := 0, int64(0)
	for n < len(list) && list[n].deadRows()*2 >= list[n].rows && rows < z.cleanRows {
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
