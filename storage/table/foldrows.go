package table

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rowWriter is the second pass of a fold: it folds the changes and writes their rows in offset order. The folded values of a window are
// in memory together; mostly all of a fold are one window, and then they are folded in the order in which they came, which is kinder
// to the processor's caches than any other. Rows that are needed as a base are read in the order in which they lie.
type rowWriter struct {
	*job
	hasher digest.Hasher
	folder *fold.Folder
	bases  *walker
	k, v   []byte
	arena  []byte
	seg    segment
	last   int64 // offset of the last row written
}

// result is a folded change that is not written yet.
type result struct {
	key    []byte
	value  []byte // aliases the delta or the arena
	by     *Delta // the delta that touched the row last
	change int32
	live   bool
	early  bool // later deltas were rejected
}

// at is an index and the offset that it is sorted by.
type at struct {
	offset int64
	i      int32
}

func byOffset(a, b at) int { return cmp.Compare(a.offset, b.offset) }

func (w *rowWriter) run() (err error) {
	w.folder = fold.NewFolder(w.t.id.Fold, w.t.limits.RowBytesMax)
	w.last = -1
	w.seg = segment{lo: w.old.position}
	defer func() {
		if w.bases != nil {
			if e := w.bases.it.Close(); err == nil {
				err = e
			}
		}
	}()
	order := resize(w.order, len(w.f.Changes))
	w.order = order
	total := int64(0)
	for i := range w.f.Changes {
		ds := w.f.Changes[i].Deltas
		order[i] = at{ds[len(ds)-1].Offset, int32(i)}
		if o, ok := w.moved[int32(i)]; ok {
			order[i].offset = o
		}
		total += w.valueBytes(i)
	}
	if total > w.t.db.sizes.windowBytes {
		slices.SortFunc(order, byOffset)
	}
	moved := false
	for len(order) > 0 {
		n := len(order)
		if total > w.t.db.sizes.windowBytes {
			n = w.window(order)
		}
		if err := w.fold(order[:n]); err != nil {
			return err
		}
		moved = w.write(moved) || moved
		order = order[n:]
	}
	if moved {
		return errMoved
	}
	w.endSegment(w.f.End)
	return nil
}

// valueBytes estimates the memory that the folded value of a change takes.
func (w *rowWriter) valueBytes(i int) int64 {
	c := &w.f.Changes[i]
	if len(c.Deltas) == 1 && w.alone(c) && (c.Folded || w.t.id.Fold == fold.LastValue) {
		return 0 // it is the delta's
	}
	n := int64(w.prior[i].valueLen)
	for k := range c.Deltas {
		n += int64(len(c.Deltas[k].Value))
	}
	return n
}

// window returns how many changes are folded together.
func (w *rowWriter) window(order []at) int {
	n := int64(0)
	for i, o := range order {
		if n += w.valueBytes(int(o.i)); n > w.t.db.sizes.windowBytes && i > 0 {
			return i
		}
	}
	return len(order)
}

// alone tells whether a change is folded without the row it replaces, unless its first delta is rejected.
func (w *rowWriter) alone(c *Change) bool {
	return c.Folded || w.t.id.Fold.Resets(c.Deltas[0].Op)
}

func (w *rowWriter) fold(order []at) error {
	w.results, w.arena = w.results[:0], w.arena[:0]
	var based []at
	for _, o := range order {
		p := &w.prior[o.i]
		replaces := p.found && !p.tombstone
		if (w.alone(&w.f.Changes[o.i]) || !replaces) && w.apply(o.i, fold.State{}, !replaces) {
			continue
		}
		based = append(based, at{p.offset, o.i})
	}
	if len(based) == 0 {
		return nil
	}
	slices.SortFunc(based, byOffset)
	if w.bases == nil {
		it, err := w.t.db.iterate(keys.TableRows, w.t.ordinal)
		if err != nil {
			return err
		}
		w.bases = newWalker(it, int64(len(based)), w.old.digest.Count)
	}
	w.bases.restart()
	for _, b := range based {
		row, err := w.bases.row(w.t.ordinal, b.offset, w.f.Changes[b.i].Key)
		if err != nil {
			return err
		}
		w.apply(b.i, fold.State{Exists: true, Value: row.Value}, true)
	}
	return nil
}

// apply folds one change. A rejected delta leaves state and offset as they are. It returns false, and nothing has happened, if the first delta
// is rejected and the state that the rest then meets is not known.
func (w *rowWriter) apply(change int32, s fold.State, known bool) bool {
	c := &w.f.Changes[change]
	by := -1
	if c.Folded {
		s, by = fold.State{Exists: c.Deltas[0].Op != delta.Delete, Value: c.Deltas[0].Value}, 0
	} else {
		for i := range c.Deltas {
			next, why := w.folder.Apply(s, c.Deltas[i].Delta)
			if why != 0 && by < 0 && !known {
				return false
			}
			if why != 0 {
				w.next.rejects.Count(why)
				continue
			}
			s, by = next, i
			if w.t.id.Fold != fold.LastValue && s.Exists { // the folder's own buffer, which the next Apply uses
				s.Value = w.keep(s.Value)
			}
		}
	}
	if by >= 0 {
		w.results = append(w.results, result{c.Key, s.Value, &c.Deltas[by], change, s.Exists, by < len(c.Deltas)-1})
	}
	return true
}

// keep copies b into the window's arena. The arena grows by allocating anew, so that what was handed out stays.
func (w *rowWriter) keep(b []byte) []byte {
	if cap(w.arena)-len(w.arena) < len(b) {
		w.arena = make([]byte, 0, max(len(b), min(2*cap(w.arena)+4096, 1<<20)))
	}
	n := len(w.arena)
	w.arena = append(w.arena, b...)
	return w.arena[n:len(w.arena):len(w.arena)]
}

// write writes the window's rows. It returns true if a row belongs before what was written already; dry then, it notes where the
// moved rows of the rest belong.
func (w *rowWriter) write(dry bool) (moved bool) {
	w.places = w.places[:0]
	for i := range w.results {
		r := &w.results[i]
		w.places = append(w.places, at{r.by.Offset, int32(i)})
		if r.early {
			if w.moved == nil {
				w.moved = map[int32]int64{}
			}
			w.moved[r.change] = r.by.Offset
		}
	}
	slices.SortFunc(w.places, byOffset)
	if dry {
		return false
	}
	for i, hash := range w.hasher.Entries(len(w.places), w.hashed) {
		p := w.places[i]
		if p.offset <= w.last {
			return true
		}
		w.last = p.offset
		w.writeRow(&w.results[p.i], hash)
	}
	return false
}

// hashed returns what is hashed of the row that is written as the window's i-th, if anything.
func (w *rowWriter) hashed(i int) (key, value []byte, ok bool) {
	r := &w.results[w.places[i].i]
	return r.key, r.value, r.live && !w.expired(r.by.Offset)
}

func (w *rowWriter) writeRow(r *result, hash digest.Entry) {
	d := r.by
	row := frame.Row{Key: r.key, Value: r.value, Tombstone: !r.live, Offset: d.Offset, Timestamp: d.Timestamp,
		Headers: w.t.id.Fold.RowHeaders(!r.live, d.Headers)}
	e := entry{offset: d.Offset, tombstone: !r.live}
	passed := w.expired(d.Offset)
	switch {
	case passed: // no frame will show it: it is stored for who has to tell which rows left
		w.dead = append(w.dead, d.Offset)
	case r.live:
		e.valueLen = uint32(len(r.value))
		e.hash = hash
	default:
		w.k = keys.AppendTableOffset(w.k[:0], keys.TableTombstones, w.t.ordinal, d.Offset)
		w.v = append(append(w.v[:0], tombstoneVersion), r.key...)
		w.s.set(keys.TableTombstones, w.k, w.v)
	}
	w.rows[r.change] = indexed{entry: e, found: true, expired: passed}
	if w.seg.rows == w.t.db.sizes.segmentRows {
		w.endSegment(d.Offset)
	}
	w.seg.rows++
	w.k = keys.AppendTableOffset(w.k[:0], keys.TableRows, w.t.ordinal, d.Offset)
	w.v = appendRow(w.v[:0], &row)
	w.s.set(keys.TableRows, w.k, w.v)
}

func (w *rowWriter) endSegment(hi int64) {
	w.seg.hi = hi
	if w.seg.rows > 0 {
		putSegment(w.s, w.t.ordinal, &w.seg)
	}
	w.seg = segment{lo: hi}
}

// row reads the row at an offset, which must be that of key. Offsets ascend.
func (w *walker) row(ordinal uint32, offset int64, key []byte) (frame.Row, error) {
	v, found, err := w.rowAt(ordinal, offset)
	switch {
	case err != nil:
		return frame.Row{}, fmt.Errorf("table: read row at %d of ordinal %d: %w", offset, ordinal, err)
	case !found:
		return frame.Row{}, &CorruptError{Ordinal: ordinal, What: "row", Offset: offset, Why: "missing"}
	}
	return decodeRowOf(ordinal, offset, key, v)
}

// rowAt reads what is stored in TableRows at an offset. Offsets ascend.
func (w *walker) rowAt(ordinal uint32, offset int64) (v []byte, found bool, err error) {
	w.k = keys.AppendTableOffset(w.k[:0], keys.TableRows, ordinal, offset)
	if found, err = w.find(w.k); err == nil && found {
		v, err = w.it.ValueAndErr()
	}
	return v, found, err
}
