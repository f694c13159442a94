package table

import (
	"context"
	"fmt"
	"math"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// census is how many rows a frame has, tombstones included, by the segments that they lie in. It is of the frame as long as that stands: trims and
// thinning only take away what it does not show.
type census struct {
	of        Frame
	from      int64     // nothing is known of what lies below
	stretches []stretch // ascending, disjoint
}

// stretch is a segment, or some neighbouring ones.
type stretch struct {
	lo, hi int64
	above  int64 // rows at or above lo
}

// stretchesMax bounds the memory of a census; beyond that, neighbours are counted together.
const stretchesMax = 1024

// RowsSince returns how many rows, tombstones included, the frame at cut has at most whose last delta lies at or above since: an upper bound of what
// View.Offsets(since, true) yields. It is looked at more closely where it is above limit and may not be, and is the number of the rows stored then. It
// is math.MaxInt64 for a since below what was trimmed to, and for a frame that was counted after the table was settled beyond it.
//
// It costs what the segments and deletion vectors do, about two bytes for a row that is stored and dead, once for a frame; and where it is looked
// at more closely, the reading of limit rows at most. Errors: ErrNoFrame, those of ctx and of reading.
func (t *Table) RowsSince(ctx context.Context, cut, since, limit int64) (atMost int64, err error) {
	if err := ctx.Err(); err != nil { // the frame may have been counted
		return 0, err
	}
	c, err := t.census(ctx, cut)
	if err != nil {
		return 0, err
	}
	if since < c.from {
		return math.MaxInt64, nil
	}
	if since >= cut {
		return 0, nil
	}
	for i, p := range c.stretches {
		if p.hi <= since {
			continue
		}
		rest := int64(0)
		if i+1 < len(c.stretches) {
			rest = c.stretches[i+1].above
		}
		if p.lo >= since || p.above <= limit || rest > limit {
			return p.above, nil
		}
		stored, err := t.stored(cut, since, min(p.hi, cut), limit-rest+1)
		if rest+stored > limit { // there may be more
			return p.above, t.damaged(cut, err)
		}
		return min(p.above, rest+stored), t.damaged(cut, err)
	}
	return 0, nil
}

// stored counts the rows stored in [from, end), dead ones included, up to a number; and that number where some that the frame at cut shows may be in
// TablePast.
func (t *Table) stored(cut, from, end, max int64) (n int64, err error) {
	v, err := t.View(Current)
	if err != nil {
		return 0, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	if len(v.erasFor(cut)) > 0 {
		return max, nil
	}
	it, err := v.span(v.rowsKey(from), v.rowsKey(end))
	if err != nil {
		return 0, err
	}
	for ok := it.First(); ok && n < max; ok = it.Next() {
		n++
	}
	return n, damage.Join(it.Error(), it.Close())
}

// census is that of the frame at cut. Who asks while it is being counted waits for it.
func (t *Table) census(ctx context.Context, cut int64) (*census, error) {
	known := func() (*census, error) {
		f, err := t.Frame(cut)
		if err != nil {
			return nil, fmt.Errorf("%w: %d of ordinal %d", err, cut, t.ordinal)
		}
		if c := t.counted.Load(); c != nil && c.of.same(&f) {
			return c, nil
		}
		return nil, nil
	}
	if c, err := known(); c != nil || err != nil {
		return c, err
	}
	select {
	case <-t.counter:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { t.counter <- struct{}{} }()
	if c, err := known(); c != nil || err != nil {
		return c, err
	}
	v, err := t.View(cut)
	if err != nil {
		return nil, err
	}
	c, err := v.census(ctx)
	if err = damage.Join(err, v.Close()); err != nil {
		return nil, t.damaged(cut, err)
	}
	t.counted.Store(c)
	return c, nil
}

// census goes through the segments of what was written since the last trim.
func (v *View) census(ctx context.Context) (c *census, err error) {
	c = &census{of: v.f}
	c.from = min(max(v.m.trimmedTo(), 0), c.of.Cut)
	if len(v.erasFor(c.of.Cut)) > 0 {
		c.from = c.of.Cut // some of its rows may be in TablePast
	}
	list, err := newDeadList(v.base, v.t.ordinal, c.from, frameAt(c.of.Cut))
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, list.close()) }()
	it, err := v.space(keys.TableSegments)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	ok := it.SeekLT(keys.AppendTableOffset(nil, keys.TableSegments, v.t.ordinal, c.from+1))
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		g, err := v.t.segmentAt(it)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if g.lo >= c.of.Cut {
			break
		}
		if g.hi <= c.from {
			continue
		}
		p := stretch{lo: max(g.lo, c.from), hi: min(g.hi, c.of.Cut), above: g.rows}
		// Dead offsets that lie between segments are none of this one's, and those that lie in it below from are not in the list.
		err = list.below(p.hi, func(o, _ int64) {
			if o >= p.lo {
				p.above--
			}
		})
		if err != nil {
			return nil, err
		}
		c.add(p)
	}
	if err := damage.Of(it.Error()); err != nil {
		return nil, fmt.Errorf("table: read segments of ordinal %d: %w", v.t.ordinal, err)
	}
	for i := len(c.stretches) - 2; i >= 0; i-- {
		c.stretches[i].above += c.stretches[i+1].above
	}
	return c, nil
}

// add counts a stretch's own rows, until they are summed up.
func (c *census) add(p stretch) {
	if len(c.stretches) == stretchesMax {
		for i := range stretchesMax / 2 {
			a, b := c.stretches[2*i], c.stretches[2*i+1]
			c.stretches[i] = stretch{a.lo, b.hi, a.above + b.above}
		}
		c.stretches = c.stretches[:stretchesMax/2]
	}
	c.stretches = append(c.stretches, p)
}
