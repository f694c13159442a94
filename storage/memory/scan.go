package memory

import (
	"bytes"
	"iter"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// scanRows is how many rows Scan reads at a time under the lock.
const scanRows = 256

// Scan yields the live rows whose key starts with prefix and is above after (nil: from the first), in key
// order. It reads 256 rows at a time: rows that change meanwhile are yielded as they are when their turn comes. A View has
// all rows of one moment. The first Scan of a table sorts it (0.1 s and up for 1 M rows; writes wait, reads do not).
func (t *Table) Scan(prefix, after []byte) iter.Seq[frame.Row] {
	return func(yield func(frame.Row) bool) {
		from := prefix
		if after != nil {
			if next := append(bytes.Clone(after), 0); bytes.Compare(next, from) > 0 {
				from = next
			}
		}
		var rows []frame.Row
		for {
			rows = t.scanSome(prefix, from, rows[:0])
			for _, row := range rows {
				if !yield(row) {
					return
				}
			}
			if len(rows) < scanRows {
				return
			}
			from = append(bytes.Clone(rows[len(rows)-1].Key), 0)
		}
	}
}

func (t *Table) scanSome(prefix, from []byte, rows []frame.Row) []frame.Row {
	o := t.ordered()
	t.mu.RLock()
	for o != t.order.Load() { // a repair wants it built anew
		t.mu.RUnlock()
		o = t.ordered()
		t.mu.RLock()
	}
	defer t.mu.RUnlock()
	leaf, pos := o.seek(from, t.keyLocked)
	for ; leaf < len(o.leaves); leaf, pos = leaf+1, 0 {
		for _, id := range o.leaves[leaf][pos:] {
			row, _, _ := t.chunks.get(t.rows[id])
			if !bytes.HasPrefix(row.Key, prefix) || len(rows) == scanRows {
				return rows
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// ordered returns the key order, built on first use. The read lock keeps writers out while it is built and stored.
func (t *Table) ordered() *order {
	if o := t.order.Load(); o != nil {
		return o
	}
	t.orderMu.Lock()
	defer t.orderMu.Unlock()
	if o := t.order.Load(); o != nil {
		return o
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	o := buildOrder(t.rows, t.keyLocked)
	t.order.Store(o)
	return o
}

// View is all rows of one moment. It costs a copy of 8 bytes a row, and keeps chunks that
// the table drops later.
type View struct {
	ID       Identity
	Position int64
	Digest   digest.Digest
	rows     []ref
	chunks   chunks
}

// View returns the rows, position and digest of this moment.
func (t *Table) View() *View {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return &View{
		ID: t.id, Position: t.position, Digest: t.digest,
		rows:   append([]ref(nil), t.rows...),
		chunks: chunks{list: append([]chunk(nil), t.chunks.list...)},
	}
}

// All yields the rows in no particular order.
func (v *View) All() iter.Seq[frame.Row] {
	return func(yield func(frame.Row) bool) {
		for _, r := range v.rows {
			if r == 0 {
				continue
			}
			if row, _, ok := v.chunks.get(r); ok && !yield(row) {
				return
			}
		}
	}
}

// Scrub hashes the view's rows anew. A result that differs from Digest is damaged memory, not drift. Rows that cannot be read count, and add nothing to the sum:
// with one of them it is the digest of no rows.
func (v *View) Scrub() digest.Digest {
	var read digest.Adder
	for row := range v.All() {
		read.Add(row.Key, row.Value)
	}
	d := digest.Digest{Sum: read.Digest().Sum}
	for _, r := range v.rows {
		if r != 0 {
			d.Count++
		}
	}
	return d
}

// Entries hashes every row anew: what their sum lacks or has too much beside Digest is damaged memory. A row that is damaged so that
// it cannot be read is left out.
func (v *View) Entries(visit func(key []byte, e digest.Entry)) {
	var h digest.Hasher
	for row := range v.All() {
		visit(row.Key, h.Entry(row.Key, row.Value))
	}
}
