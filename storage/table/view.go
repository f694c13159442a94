package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Current names the table at Position, in View and Verify.
const Current = int64(-1)

// View reads one key frame, or the current table, as it was when the view was opened: folds and trims that come later change nothing
// in it. All its reads come from iterators cloned from one, which pins the sstables; so a view is to be closed soon, within
// seconds to minutes, or their space does not come back. A view serves one goroutine.
type View struct {
	t      *Table
	base   *pebble.Iterator
	m      *meta
	f      Frame
	undo   []int64 // cuts whose intervals follow the frame, ascending
	point  *pebble.Iterator
	former *spanIter // over TablePast
	k      []byte
	closed bool
}

// View opens the frame at cut, or the table at Position for Current.
func (t *Table) View(cut int64) (*View, error) {
	if t.dropped.Load() {
		return nil, ErrClosed
	}
	base, err := t.snapshot()
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	v := &View{t: t, base: base}
	if err := v.open(cut); err != nil {
		return nil, t.damaged(cut, damage.Join(err, base.Close()))
	}
	if t.dropped.Load() { // it may have been half gone
		return nil, errors.Join(ErrClosed, base.Close())
	}
	return v, nil
}

// open reads the meta entry through the base iterator: it describes exactly the rows that the view sees.
func (v *View) open(cut int64) error {
	k := keys.AppendTablePrefix(nil, keys.TableMeta, v.t.ordinal)
	v.m = newMeta(v.t.id)
	if v.base.SeekPrefixGE(k) && string(v.base.Key()) == string(k) {
		b, err := v.base.ValueAndErr()
		if err != nil {
			return fmt.Errorf("table: read meta of ordinal %d: %w", v.t.ordinal, damage.Of(err))
		}
		if v.m, err = decodeMeta(v.t.ordinal, b); err != nil {
			return err
		}
	} else if err := v.base.Error(); err != nil {
		return fmt.Errorf("table: read meta of ordinal %d: %w", v.t.ordinal, damage.Of(err))
	}
	if cut == Current {
		v.f = v.m.now(0)
		return nil
	}
	i, ok := v.m.find(cut)
	if !ok {
		return fmt.Errorf("%w: %d of ordinal %d", ErrNoFrame, cut, v.t.ordinal)
	}
	v.f = v.m.frames[i]
	for _, f := range v.m.frames[i:] {
		v.undo = append(v.undo, f.Cut)
	}
	return nil
}

// Close releases the sstables. It may be called twice.
func (v *View) Close() error {
	if v.closed {
		return nil
	}
	v.closed = true
	var err error
	if v.point != nil {
		err = damage.Join(err, v.point.Close())
	}
	if v.former != nil {
		err = damage.Join(err, v.former.Close())
	}
	return damage.Join(err, v.base.Close())
}

// Frame returns the frame that the view shows; for Current, what a cut at Position would be, without a time.
func (v *View) Frame() Frame { return v.f }

// End returns the exclusive end of what is folded into the view.
func (v *View) End() int64 { return v.f.Cut }

// Horizon returns the tombstone horizon as of the view: Offsets is complete from there on.
func (v *View) Horizon() int64 { return v.m.horizon }

// Starts lists the moves of the log start above the view, up to Position: the state at an offset there is without the rows that left at
// the cuts up to it.
func (v *View) Starts() []StartMove { return above(v.m.starts, v.f.Cut) }

// Starts lists the moves of the log start that are remembered: all above the oldest frame.
func (t *Table) Starts() []StartMove { return slices.Clone(t.state.Load().starts) }

func above(list []StartMove, cut int64) []StartMove {
	return slices.DeleteFunc(slices.Clone(list), func(x StartMove) bool { return x.Cut <= cut })
}

// clone opens an iterator over all keys that the view sees.
func (v *View) clone() (*pebble.Iterator, error) {
	if v.closed {
		return nil, ErrClosed
	}
	it, err := v.base.Clone(pebble.CloneOptions{IterOptions: &pebble.IterOptions{}})
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	return it, nil
}

// span opens an iterator over [lower, upper) of what the view sees.
func (v *View) span(lower, upper []byte) (*spanIter, error) {
	if v.closed {
		return nil, ErrClosed
	}
	return cloneSpan(v.base, lower, upper)
}

func (v *View) space(space keys.TableSpace) (*spanIter, error) {
	return v.span(spaceSpan(space, v.t.ordinal))
}

// currentEntry decodes the index or undo entry that an iterator stands at.
func currentEntry(it *spanIter, ordinal uint32) (entry, error) {
	b, err := it.ValueAndErr()
	if err != nil {
		return entry{}, fmt.Errorf("table: read index of ordinal %d: %w", ordinal, err)
	}
	return decodeEntry(ordinal, b)
}

// Get returns the key's row as of the view. ok is false for a key that is absent or deleted. The row is valid until the next call
// on the view.
func (v *View) Get(key []byte) (row frame.Row, ok bool, err error) {
	row, ok, err = v.Last(key)
	if row.Tombstone {
		return frame.Row{}, false, err
	}
	return row, ok, err
}

// Last is Get that finds tombstones too, while they are stored.
func (v *View) Last(key []byte) (row frame.Row, ok bool, err error) {
	defer func() { err = v.t.damaged(v.f.Cut, err) }()
	e, ok, err := v.lookUp(key)
	if err != nil || !ok {
		return frame.Row{}, false, err
	}
	b, found, err := v.stored(e.offset)
	if err != nil {
		return row, false, err
	}
	if !found {
		return row, false, &CorruptError{Ordinal: v.t.ordinal, What: "row", Offset: e.offset, Why: "missing"}
	}
	row, err = decodeRowOf(v.t.ordinal, e.offset, key, b)
	return row, err == nil, err
}

// Row returns the row that a delta at an offset left. That the view shows it is known from Offsets, on the same frame: where a later delta has
// superseded the row, it may be there or not. ok is false for a tombstone, and where there is no row. It is valid until the next call on the view.
func (v *View) Row(offset int64) (row frame.Row, ok bool, err error) {
	if offset < 0 || offset >= v.f.Cut {
		return row, false, nil
	}
	b, found, err := v.stored(offset)
	if err != nil || !found {
		return row, false, v.t.damaged(v.f.Cut, damage.Of(err))
	}
	if row, err = decodeRow(v.t.ordinal, offset, b); err != nil {
		return frame.Row{}, false, err
	}
	return row, !row.Tombstone, nil
}

// stored reads the row at an offset.
func (v *View) stored(offset int64) (b []byte, found bool, err error) {
	v.k = keys.AppendTableOffset(v.k[:0], keys.TableRows, v.t.ordinal, offset)
	if b, found, err = v.value(v.k); found || err != nil {
		return b, found, err
	}
	return v.pastRow(offset)
}

// lookUp finds the key's entry: the first interval after the frame that touched the key kept what the frame saw; if none
// did, the index still says it.
func (v *View) lookUp(key []byte) (e entry, ok bool, err error) {
	for _, cut := range v.undo {
		v.k = keys.AppendTableUndo(v.k[:0], v.t.ordinal, cut, key)
		b, found, err := v.value(v.k)
		if err != nil || found && len(b) == 0 {
			return e, false, err
		}
		if found {
			e, err = decodeEntry(v.t.ordinal, b)
			return e, err == nil, err
		}
	}
	v.k = keys.AppendTableIndex(v.k[:0], v.t.ordinal, key)
	b, found, err := v.value(v.k)
	if err != nil || !found {
		return e, false, err
	}
	e, err = decodeEntry(v.t.ordinal, b)
	return e, err == nil, err
}

// value reads one key. Prefix seeks let Bloom filters skip sstables, the whole key being its prefix. Where the filters are of no use, they read on to the next
// block as well, see spanIter.
func (v *View) value(k []byte) (b []byte, found bool, err error) {
	if v.point == nil {
		if v.point, err = v.clone(); err != nil {
			return nil, false, err
		}
	}
	if !v.point.SeekPrefixGE(k) || string(v.point.Key()) != string(k) {
		err := v.point.Error()
		if err != nil {
			_ = v.point.Close() // which says that again
			v.point = nil
		}
		return nil, false, absent(k, err, v.span)
	}
	b, err = v.point.ValueAndErr()
	if err != nil {
		return nil, false, fmt.Errorf("table: read ordinal %d: %w", v.t.ordinal, err)
	}
	return b, true, nil
}

// Get returns the key's live row at Position; the row is the caller's. It is cheaper than a view: two lookups.
func (t *Table) Get(key []byte) (row frame.Row, ok bool, err error) {
	row, ok, err = t.Last(key)
	if row.Tombstone {
		return frame.Row{}, false, err
	}
	return row, ok, err
}

// Last is Get that finds tombstones too, while they are stored.
func (t *Table) Last(key []byte) (row frame.Row, ok bool, err error) {
	n := t.holds.Load()
	if t.dropped.Load() {
		return row, false, ErrClosed
	}
	if n%2 == 0 {
		row, ok, err = t.lookUp(key)
		if t.holds.Load() == n {
			return row, ok, t.damaged(Current, err)
		}
	}
	return t.lastInView(key) // an ingest is under way, or has moved the row between the two lookups
}

func (t *Table) lastInView(key []byte) (row frame.Row, ok bool, err error) {
	v, err := t.View(Current)
	if err != nil {
		return row, false, err
	}
	if row, ok, err = v.Last(key); ok {
		row.Key, row.Value, row.Headers = bytes.Clone(row.Key), bytes.Clone(row.Value), bytes.Clone(row.Headers)
	}
	return row, ok, damage.Join(err, v.Close())
}

// lookUp gets a row by way of the index, while no ingest is under way.
func (t *Table) lookUp(key []byte) (row frame.Row, ok bool, err error) {
	k := keys.AppendTableIndex(make([]byte, 0, keys.TablePrefixLen+max(8, len(key))), t.ordinal, key)
	e, found, err := t.indexEntry(k)
	if err != nil || !found {
		return row, false, err
	}
	b, c, err := t.db.cfg.DB.Get(keys.AppendTableOffset(nil, keys.TableRows, t.ordinal, e.offset))
	if errors.Is(err, pebble.ErrNotFound) {
		return row, false, &CorruptError{Ordinal: t.ordinal, What: "row", Offset: e.offset, Why: "missing"}
	}
	if err != nil {
		return row, false, fmt.Errorf("table: read row at %d of ordinal %d: %w", e.offset, t.ordinal, damage.Of(err))
	}
	row, err = decodeRowOf(t.ordinal, e.offset, key, bytes.Clone(b))
	return row, err == nil, damage.Join(err, c.Close())
}

func (t *Table) indexEntry(k []byte) (e entry, found bool, err error) {
	b, c, err := t.db.cfg.DB.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return e, false, nil
	}
	if err != nil {
		if err = absent(k, err, t.db.iterateSpan); err == nil {
			return e, false, nil
		}
		return e, false, fmt.Errorf("table: read index of ordinal %d: %w", t.ordinal, damage.Of(err))
	}
	e, err = decodeEntry(t.ordinal, b)
	return e, err == nil, damage.Join(err, c.Close())
}
