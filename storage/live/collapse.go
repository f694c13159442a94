package live

import (
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// collapser lets deltas take effect on an interval. It belongs to the interval's writer.
type collapser struct {
	kind      fold.Kind
	lastValue bool
	folder    *fold.Folder
}

func newCollapser(t *table.Table) collapser {
	kind := t.Identity().Fold
	return collapser{kind, kind == fold.LastValue, fold.NewFolder(kind, t.RowBytesMax())}
}

// parse returns the record's delta, or why it is skipped.
func (c *collapser) parse(r *batch.Record) (delta.Delta, fold.Rejection) {
	if r.Key == nil {
		return delta.Delta{}, fold.Malformed
	}
	d, err := c.kind.Delta(r.Key, r.Value, r.Headers)
	if err != nil {
		return d, fold.Malformed
	}
	return d, 0
}

// collapse lets one delta take effect on an entry, without reading the table. What is kept of the delta is copied.
func (c *collapser) collapse(iv *interval, e *entry, d table.Delta) {
	n := node{value: d.Value, headers: d.Headers, offset: d.Offset, timestamp: d.Timestamp, op: d.Op}
	switch {
	case e.head != nil && e.head.kind != pending:
		c.fold(iv, e, d, n)
	case (e.head == nil || c.lastValue) && c.kind.Resets(d.Op):
		c.fold(iv, e, d, n)
	default:
		n.value, n.headers = iv.space.copy(d.Value), batch.Headers(iv.space.copy(d.Headers))
		iv.push(e, n)
	}
}

// fold applies a delta to a state that is known, or that does not matter.
func (c *collapser) fold(iv *interval, e *entry, d table.Delta, n node) {
	var before fold.State
	if e.head != nil && e.head.kind != pending {
		before = e.head.state()
	}
	after, why := c.folder.Apply(before, d.Delta)
	if why != 0 {
		iv.rejects.Count(why)
		return
	}
	n.kind, n.op, n.value = known, delta.Delete, nil
	if after.Exists {
		n.op, n.value = delta.Put, iv.space.copy(after.Value)
	}
	n.headers = batch.Headers(iv.space.copy(d.Headers))
	iv.push(e, n)
}

// crowded tells whether a chain of pending deltas is so long that the row below it should be read.
func crowded(n *node) bool {
	return n != nil && n.kind == pending && (n.length >= chainMax || n.bytes >= chainBytes)
}

// install replaces a chain by the state that settle found.
func (iv *interval) install(e *entry, n node) {
	n.value, n.headers = iv.space.copy(n.value), batch.Headers(iv.space.copy(n.headers))
	iv.push(e, n)
}

// settle folds the open chain of a column; the deltas that it rejects are counted, those of the layer below are not: its fold will.
func (c *collapser) settle(col *column, below frame.Row, exists bool) (n node, rejects table.Rejects, err error) {
	lower := column{key: col.key, layers: [2]*node{col.layers[0]}}
	base, err := lower.apply(c.kind, c.folder, below, exists)
	if err != nil {
		return n, rejects, err
	}
	state := fold.State{Exists: base.exists}
	if base.exists {
		state.Value = base.row.Value
	}
	n.kind = unchanged
	for _, x := range col.layers[1].oldestFirst(nil) {
		next, why := c.folder.Apply(state, delta.Delta{Op: x.op, Key: col.key, Value: x.value, Headers: x.headers})
		if why != 0 {
			rejects.Count(why)
			continue
		}
		state = next
		state.Value = slices.Clone(state.Value)
		n.kind, n.offset, n.timestamp, n.headers = known, x.offset, x.timestamp, x.headers
	}
	n.op, n.value = delta.Delete, nil
	if state.Exists {
		n.op, n.value = delta.Put, state.Value
	}
	return n, rejects, nil
}
