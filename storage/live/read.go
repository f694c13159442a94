package live

import (
	"bytes"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// column is what the intervals do to one key: the chains of the layers over the table, lowest first.
type column struct {
	key    []byte
	layers [2]*node // folding or nil, open or nil
}

// result is a key's row after its layers. For a key that the layers leave alone, the row below.
type result struct {
	row     frame.Row // Tombstone where a delete touched it last
	exists  bool
	touched bool // the row is the layers'; else the row below stands
	rejects table.Rejects
}

// apply puts the layers over the row below (below.Offset < 0: no such row). Deltas that the row below has already are skipped: a fold may have
// been committed since the layers were looked at. The row aliases the layers or below.
func (c *column) apply(kind fold.Kind, f *fold.Folder, below frame.Row, exists bool) (result, error) {
	r := result{row: below, exists: exists}
	state := fold.State{Exists: exists, Value: below.Value}
	var chain []*node
	for _, head := range c.layers {
		if head == nil || head.kind == unchanged {
			continue
		}
		if head.kind == known {
			if !exists || head.offset > below.Offset {
				state, r.touched = head.state(), true
				r.row = rowOf(kind, c.key, head, state)
			}
			continue
		}
		chain = head.oldestFirst(chain[:0])
		for _, n := range chain {
			if exists && n.offset <= below.Offset {
				continue
			}
			next, why := f.Apply(state, delta.Delta{Op: n.op, Key: c.key, Value: n.value, Headers: n.headers})
			if why != 0 {
				r.rejects.Count(why)
				continue
			}
			state, r.touched = next, true
			state.Value = slices.Clone(state.Value) // the folder's own
			r.row = rowOf(kind, c.key, n, state)
		}
	}
	r.exists = state.Exists
	return r, nil
}

func rowOf(kind fold.Kind, key []byte, n *node, s fold.State) frame.Row {
	r := frame.Row{Key: key, Offset: n.offset, Timestamp: n.timestamp, Tombstone: !s.Exists, Headers: kind.RowHeaders(!s.Exists, n.headers)}
	if s.Exists {
		r.Value = s.Value
	}
	return r
}

// needsRow tells whether the row below matters.
func (c *column) needsRow() bool {
	for i := len(c.layers) - 1; i >= 0; i-- {
		if h := c.layers[i]; h != nil && h.kind != pending {
			return h.kind == unchanged // then the row below is the answer
		}
	}
	return true
}

// glance returns what the intervals hold of a key, and the moment.
func (p *Partition) glance(key []byte) (c column, asOf, generation int64) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	c.key = key
	if e := p.folding.find(key); e != nil {
		c.layers[0] = e.head
	}
	if e := p.open.find(key); e != nil {
		c.layers[1] = e.head
	}
	return c, p.position, p.generation
}

func (p *Partition) moved(generation int64) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.generation != generation
}

// TouchedAbove says whether deltas that are not folded into the table touch a key. Some may be in the table by then.
func (p *Partition) TouchedAbove(key []byte) bool {
	c, _, _ := p.glance(key)
	return c.layers[0] != nil || c.layers[1] != nil
}

// Get returns the key's row with everything below asOf applied; ok is false for a key that is absent or deleted. The row is the
// caller's. Beside a consolidated delta that is being committed, asOf may be above Position.
func (p *Partition) Get(key []byte) (row frame.Row, asOf int64, ok bool, err error) {
	row, asOf, err = p.Last(key)
	if ok = err == nil && row.Offset >= 0 && !row.Tombstone; !ok {
		row = frame.Row{}
	}
	return row, asOf, ok, err
}

// Last is Get for who wants to know of deletes too: the row is a tombstone while the tombstone is stored, and has the offset -1 where there is none.
func (p *Partition) Last(key []byte) (row frame.Row, asOf int64, err error) {
	for {
		c, asOf, generation := p.glance(key)
		if end, expiring := p.foldUnderWay(); expiring {
			if row, read, moved, err := p.lastExpiring(&c, generation, end); !moved || err != nil {
				return row, max(asOf, read), err
			}
			continue
		}
		below, exists := frame.Row{Offset: -1}, false
		if c.needsRow() {
			if below, exists, err = lastBelow(p.table.Last(key)); err != nil {
				return row, asOf, err
			}
			if p.moved(generation) {
				continue // the row may be newer than what was seen of the intervals
			}
		}
		r, err := p.over(&c, below, exists)
		if r.touched && err == nil {
			r.row = clone(r.row)
		}
		return r.last(), max(asOf, r.row.Offset+1), err // above asOf: it came with a consolidated delta, all at once
	}
}

// last is the row, a tombstone, or no row.
func (r *result) last() frame.Row { return r.row }

// lastBelow is the row below the layers, which may be a tombstone, or have the offset -1; exists: it is a live one.
func lastBelow(row frame.Row, found bool, err error) (below frame.Row, exists bool, _ error) {
	if !found {
		row = frame.Row{Offset: -1}
	}
	return row, found && !row.Tombstone, err
}

// foldUnderWay returns the end of the interval that is being folded, or was last, and whether rows expire there.
func (p *Partition) foldUnderWay() (end int64, expiring bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.foldEnd, p.expiring
}

// lastExpiring reads a key while rows expire at a cut, and says where the table ended then. Whether the cut is there yet, a view tells for certain;
// from then on the interval that was folded says nothing: laid over a row that has left, it would bring it back.
func (p *Partition) lastExpiring(c *column, generation, end int64) (row frame.Row, read int64, moved bool, err error) {
	v, err := p.table.View(table.Current)
	if err != nil {
		return row, 0, false, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	read = v.End()
	if p.moved(generation) {
		return row, read, true, nil
	}
	if read >= end {
		c.layers[0] = nil
	}
	below, exists, err := lastBelow(v.Last(c.key))
	if err != nil {
		return row, read, false, err
	}
	r, err := p.over(c, below, exists)
	if err != nil {
		return row, read, false, err
	}
	return clone(r.last()), read, false, nil
}

// over is column.apply with a folder of the pool.
func (p *Partition) over(c *column, below frame.Row, exists bool) (result, error) {
	f := p.folders.Get().(*fold.Folder)
	defer p.folders.Put(f)
	return c.apply(p.kind, f, below, exists)
}

func clone(r frame.Row) frame.Row {
	r.Key, r.Value, r.Headers = bytes.Clone(r.Key), bytes.Clone(r.Value), batch.Headers(bytes.Clone(r.Headers))
	return r
}

// resolveLocked reads the row below a chain of pending deltas and folds them, so that the chain becomes one state: a key with many
// deltas takes little memory then. It lets go of the lock while it reads; the writer is the only one that changes the entry.
func (p *Partition) resolveLocked(iv *interval, e *entry) error {
	c := column{key: e.key, layers: [2]*node{nil, e.head}}
	if f := p.folding.find(e.key); f != nil {
		c.layers[0] = f.head
	}
	p.mu.Unlock()
	below, exists, err := p.table.Get(e.key)
	p.mu.Lock()
	if err != nil {
		return err
	}
	n, rejects, err := p.settle(&c, below, exists)
	if err != nil {
		return err
	}
	iv.rejects.Add(&rejects)
	iv.install(e, n)
	return nil
}

// Scan yields the live rows in key order, with everything below asOf applied: the keys with the prefix above after (nil: all with
// it). The rows are as of the call, whatever is applied or folded while they are read; each is valid until the next. The sequence
// can be ranged over once, and should be soon: it pins sstables from the call on until it ends. Call close if it is not ranged over.
func (p *Partition) Scan(prefix, after []byte) (asOf int64, rows iter.Seq2[frame.Row, error], close func(), err error) {
	for {
		columns, asOf, generation := p.glanceRange(prefix, after)
		v, err := p.table.View(table.Current)
		if err != nil {
			return 0, nil, nil, err
		}
		if p.moved(generation) {
			if err := v.Close(); err != nil {
				return 0, nil, nil, err
			}
			continue
		}
		asOf = max(asOf, v.End()) // below it while a consolidated delta is committed, all at once
		if end, expiring := p.foldUnderWay(); expiring && v.End() >= end {
			for i := range columns {
				columns[i].layers[0] = nil // see lastExpiring
			}
		}
		closeView := func() { _ = v.Close() } // an iterator's Close repeats the error of the read before
		return asOf, func(yield func(frame.Row, error) bool) {
			defer closeView()
			f := p.folders.Get().(*fold.Folder)
			defer p.folders.Put(f)
			merge(p.kind, f, v.Scan(prefix, after), columns, yield)
		}, closeView, nil
	}
}

// glanceRange returns what the intervals hold of a range of keys, in key order.
func (p *Partition) glanceRange(prefix, after []byte) (list []column, asOf, generation int64) {
	p.sortOpen()
	p.mu.RLock()
	asOf, generation = p.position, p.generation
	var open, folding []column
	open = p.open.columns(prefix, after, 1)
	frozen := p.folding
	p.mu.RUnlock()
	if frozen != nil {
		folding = frozen.frozenColumns(prefix, after)
	}
	return join(folding, open), asOf, generation
}

// sortOpen adds the new keys of the open interval to its sorted runs.
func (p *Partition) sortOpen() {
	p.sorting.Lock()
	defer p.sorting.Unlock()
	p.mu.RLock()
	iv := p.open
	tail := iv.entries[iv.sorted:]
	p.mu.RUnlock()
	if len(tail) == 0 {
		return
	}
	run := sortEntries(tail)
	p.mu.Lock()
	if iv == p.open {
		iv.addRun(run)
	}
	p.mu.Unlock()
}

// columns lists the interval's chains in a range of keys, as the given layer.
func (iv *interval) columns(prefix, after []byte, layer int) (list []column) {
	add := func(run []*entry) {
		for _, e := range run {
			if e.head != nil {
				c := column{key: e.key}
				c.layers[layer] = e.head
				list = append(list, c)
			}
		}
	}
	for _, run := range iv.runs {
		add(inRange(run, prefix, after))
	}
	for _, e := range iv.entries[iv.sorted:] {
		if bytes.HasPrefix(e.key, prefix) && (after == nil || bytes.Compare(e.key, after) > 0) {
			add([]*entry{e})
		}
	}
	if len(iv.runs) != 1 || iv.sorted != len(iv.entries) {
		slices.SortFunc(list, func(a, b column) int { return bytes.Compare(a.key, b.key) })
	}
	return list
}

// frozenColumns is columns for an interval that nobody changes any more.
func (iv *interval) frozenColumns(prefix, after []byte) []column { return iv.columns(prefix, after, 0) }

// join merges two lists in key order; where both have a key, the columns become one.
func join(a, b []column) []column {
	if len(a) == 0 {
		return b
	}
	out := make([]column, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0].key, b[0].key); {
		case c < 0:
			out, a = append(out, a[0]), a[1:]
		case c > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			out = append(out, column{key: a[0].key, layers: [2]*node{a[0].layers[0], b[0].layers[1]}})
			a, b = a[1:], b[1:]
		}
	}
	return append(append(out, a...), b...)
}

// merge lays columns over rows, both in key order.
func merge(kind fold.Kind, f *fold.Folder, rows iter.Seq2[frame.Row, error], columns []column, yield func(frame.Row, error) bool) {
	over := func(c *column, below frame.Row, exists bool) bool {
		r, err := c.apply(kind, f, below, exists)
		if err != nil {
			yield(frame.Row{}, err)
			return false
		}
		return !r.exists || yield(r.row, nil)
	}
	for row, err := range rows {
		if err != nil {
			yield(frame.Row{}, err)
			return
		}
		for len(columns) > 0 && bytes.Compare(columns[0].key, row.Key) < 0 {
			if !over(&columns[0], frame.Row{Offset: -1}, false) {
				return
			}
			columns = columns[1:]
		}
		if len(columns) > 0 && bytes.Equal(columns[0].key, row.Key) {
			if !over(&columns[0], row, true) {
				return
			}
			columns = columns[1:]
			continue
		}
		if !yield(row, nil) {
			return
		}
	}
	for i := range columns {
		if !over(&columns[i], frame.Row{Offset: -1}, false) {
			return
		}
	}
}
