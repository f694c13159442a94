package table

import (
	"bytes"
	"fmt"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rowFinder looks up rows at ascending offsets, in TableRows, and where one has left that, in the eras of TablePast.
type rowFinder struct {
	ordinal uint32
	cut     int64 // of the view
	rows    *walker
	eras    []int64
	past    []*walker // of the eras
}

// findRows opens one; it is to be closed.
func (v *View) findRows() (*rowFinder, error) {
	it, err := v.space(keys.TableRows)
	if err != nil {
		return nil, err
	}
	f := &rowFinder{ordinal: v.t.ordinal, cut: v.f.Cut, rows: &walker{it: it, steps: 2}, eras: v.erasFor(v.f.Cut)}
	for range f.eras {
		it, err := v.space(keys.TablePast)
		if err != nil {
			return nil, damage.Join(err, f.close())
		}
		f.past = append(f.past, &walker{it: it, steps: 2})
	}
	return f, nil
}

func (f *rowFinder) close() error {
	err := f.rows.it.Close()
	for _, w := range f.past {
		err = damage.Join(err, w.it.Close())
	}
	return damage.Of(err)
}

// restart allows the next row to lie before the last.
func (f *rowFinder) restart() {
	f.rows.restart()
	for _, w := range f.past {
		w.restart()
	}
}

// row reads the row at an offset, which must be that of key. It is valid until the next call.
func (f *rowFinder) row(offset int64, key []byte) (r frame.Row, err error) {
	b, found, err := f.rows.rowAt(f.ordinal, offset)
	for i := 0; i < len(f.past) && !found && err == nil; i++ {
		b, found, err = f.pastAt(i, offset)
	}
	switch {
	case err != nil:
		return r, fmt.Errorf("table: read row at %d of ordinal %d: %w", offset, f.ordinal, err)
	case !found:
		return r, &CorruptError{Ordinal: f.ordinal, What: "row", Offset: offset, Why: "missing"}
	}
	return decodeRowOf(f.ordinal, offset, key, b)
}

// pastAt is rowAt for an era.
func (f *rowFinder) pastAt(i int, offset int64) (b []byte, found bool, err error) {
	w := f.past[i]
	w.k = keys.AppendTablePast(w.k[:0], f.ordinal, f.eras[i], offset)
	if there, err := w.reach(w.k); err != nil || !there || !bytes.HasPrefix(w.it.Key(), w.k) {
		return nil, false, err
	}
	if cut, ok := cutOf(w.it.Key()); !ok || cut < f.cut {
		return nil, false, nil
	}
	b, err = w.it.ValueAndErr()
	return b, err == nil, err
}

// pastRow looks for the row at an offset in TablePast, if it is one that the view may show. It is valid until the iterator moves.
func (v *View) pastRow(offset int64) (b []byte, found bool, err error) {
	for _, era := range v.erasFor(v.f.Cut) {
		if v.former == nil {
			if v.former, err = v.space(keys.TablePast); err != nil {
				return nil, false, err
			}
		}
		v.k = keys.AppendTablePast(v.k[:0], v.t.ordinal, era, offset)
		if !v.former.SeekGE(v.k) {
			if err := v.former.Error(); err != nil {
				return nil, false, damage.Of(err)
			}
			continue
		}
		if cut, ok := cutOf(v.former.Key()); ok && bytes.HasPrefix(v.former.Key(), v.k) && cut >= v.f.Cut {
			b, err = v.former.ValueAndErr()
			return b, err == nil, damage.Of(err)
		}
	}
	return nil, false, nil
}
