package table

import (
	"context"
	"iter"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
)

// Difference is a key whose rows in two states have different values, or that has a row in one of them alone. It is valid until the next.
type Difference struct {
	Key           []byte
	Before, After frame.Row
	Had, Has      bool // there is such a row
}

// At opens another view of what v sees, as if both had been opened at the same moment. Each is closed by itself. Errors: those of
// Table.View.
func (v *View) At(cut int64) (*View, error) {
	base, err := v.clone()
	if err != nil {
		return nil, err
	}
	w := &View{t: v.t, base: base}
	if err := w.open(cut); err != nil {
		return nil, damage.Join(err, base.Close())
	}
	return w, nil
}

// Frames lists the key frames that were retained when the view was opened, oldest first. The caller owns the slice.
func (v *View) Frames() []Frame { return append([]Frame(nil), v.m.frames...) }

// Differences yields, in key order, the keys with the prefix above after (nil: all with it) whose rows in v and in to differ in their
// values. A key that was written anew with the value that it had is no difference: offset, time and headers do not count. to shows a frame at
// or above v's, or Current; both are views of one moment, see At. Memory: the rows of a page.
//
// What can differ is what was touched between the two, and the undo entries of the intervals there name just that: so the cost is that of the
// keys touched, whatever the tables hold. Rows are read only where the digest entries differ.
func (v *View) Differences(ctx context.Context, to *View, prefix, after []byte) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		stopped, err := v.differences(ctx, to, prefix, after, yield)
		if err != nil && !stopped {
			yield(Difference{}, v.t.damaged(v.f.Cut, err))
		}
	}
}

func (v *View) differences(ctx context.Context, to *View, prefix, after []byte, yield func(Difference, error) bool) (stopped bool, err error) {
	between := v.undo[:len(v.undo)-len(to.undo)]
	if len(between) == 0 {
		return false, nil
	}
	touched, err := v.openLayers(v.undoHeads(between), prefix, after)
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, touched.close()) }()
	present, err := to.openLookUp()
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, present.close()) }()
	rows, err := v.findRows() // of the older one: it finds those of the other too
	if err != nil {
		return false, err
	}
	defer func() { err = damage.Join(err, rows.close()) }()
	p := differing{before: page{rows: rows}, after: page{rows: rows}}
	for limit := scanRowsMin; ; limit = min(limit*4, scanRowsMax) {
		more, err := p.fill(touched, present, limit)
		if err == nil {
			err = p.lookUp()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return false, err
		}
		for d := range p.all() {
			if !yield(d, nil) {
				return true, nil
			}
		}
		if !more {
			return false, nil
		}
	}
}

// differing is a run of keys that differ, in key order, with their rows on both sides.
type differing struct {
	before, after page
	sides         []side
}

type side struct{ had, has bool }

// fill reads limit keys at most, whether they differ or not.
func (p *differing) fill(touched *mergedIndex, present *entryWalker, limit int) (more bool, err error) {
	p.before.clear()
	p.after.clear()
	p.sides = p.sides[:0]
	for n := 0; n < limit && p.before.bytes+p.after.bytes < scanBytesMax; n++ {
		key, old, had, ok, err := touched.step()
		if err != nil || !ok {
			return false, err
		}
		now, has, err := present.find(key)
		if err != nil {
			return false, err
		}
		s := side{had && !old.tombstone, has && !now.tombstone}
		if s.had == s.has && (!s.had || old.valueLen == now.valueLen && old.hash == now.hash) {
			continue
		}
		p.sides = append(p.sides, s)
		if s.had {
			p.before.add(key, &old)
		}
		if s.has {
			p.after.add(key, &now)
		}
	}
	return true, nil
}

func (p *differing) lookUp() error {
	if err := p.before.lookUp(); err != nil {
		return err
	}
	return p.after.lookUp()
}

func (p *differing) all() iter.Seq[Difference] {
	return func(yield func(Difference) bool) {
		before, after := p.before.found, p.after.found
		for _, s := range p.sides {
			d := Difference{Had: s.had, Has: s.has}
			if s.had {
				d.Before, before = before[0], before[1:]
				d.Key = d.Before.Key
			}
			if s.has {
				d.After, after = after[0], after[1:]
				d.Key = d.After.Key
			}
			if !yield(d) {
				return
			}
		}
	}
}

// entryWalker looks up ascending keys in the index as a frame saw it: where they lie close, stepping, else seeking.
type entryWalker struct {
	ordinal uint32
	heads   [][]byte
	layers  []*walker // in order of precedence
	k       []byte
}

func (v *View) openLookUp() (*entryWalker, error) {
	w := &entryWalker{ordinal: v.t.ordinal, heads: v.indexHeads(v.undo)}
	for _, head := range w.heads {
		it, err := v.span(head, successor(head))
		if err != nil {
			return nil, damage.Join(err, w.close())
		}
		w.layers = append(w.layers, &walker{it: it, steps: denseSteps})
	}
	return w, nil
}

func (w *entryWalker) close() error {
	var err error
	for _, l := range w.layers {
		err = damage.Join(err, l.it.Close())
	}
	return err
}

// find returns the key's entry, if the frame has one.
func (w *entryWalker) find(key []byte) (e entry, present bool, err error) {
	for i, l := range w.layers {
		w.k = append(append(w.k[:0], w.heads[i]...), key...)
		found, err := l.find(w.k)
		if err != nil {
			return e, false, err
		}
		if !found {
			continue
		}
		b, err := l.it.ValueAndErr()
		if err != nil || len(b) == 0 {
			return e, false, damage.Of(err)
		}
		e, err = decodeEntry(w.ordinal, b)
		return e, err == nil, err
	}
	return e, false, nil
}
