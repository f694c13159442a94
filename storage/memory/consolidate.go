package memory

import (
	"errors"
	"fmt"
	"io"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Changed is called for each row that came, or went: then it is a tombstone. expired says that the log start has passed it, and the row is as
// it was. It is called while the table is locked; the row's slices may be kept and must not be written to.
type Changed func(row frame.Row, expired bool)

// Difference is a consolidated delta that was read and verified, and is not applied yet.
type Difference struct {
	t      *Table
	cut    int64
	before digest.Digest
	blocks []diffBlock     // they become chunks as they are
	keys   map[string]bool // all; they alias the blocks
	rows   int             // live ones
	gone   []uint32        // rows that expire
}

// Since reads a consolidated delta: what changed from the position on, each key once, tombstones included. The stream is read to its end, and
// it is an error unless the digest of the table with it, and without the rows that the log start of its frame has passed, is the footer's,
// and so is pub. unproved: the table's own is not asked for; what the table then is, is for the caller to find out. Memory: the size of the difference.
// The caller is the table's one writer. Errors: ErrFrame, ErrDigest, ErrFull, the reader's.
func (t *Table) Since(fr *frame.Reader, unproved bool) (*Difference, error) {
	h := fr.Header()
	if err := t.checkSince(h); err != nil {
		return nil, err
	}
	d := &Difference{t: t, cut: h.Cut, keys: map[string]bool{}}
	d.before, _ = t.Digest() // rebased by others
	if err := d.read(fr); err != nil {
		return nil, fmt.Errorf("rows since %d at cut %d: %w", h.Since, h.Cut, err)
	}
	footer, ok := fr.Footer()
	if !ok {
		return nil, fmt.Errorf("%w: no footer", ErrFrame)
	}
	is := d.after(h.Start)
	if unproved {
		is = footer.Digest
	}
	if err := checkDigest(is, h, footer); err != nil {
		return nil, err
	}
	if len(t.rows)-len(t.free)+d.rows > maxRows {
		return nil, ErrFull
	}
	return d, nil
}

// Apply makes the table that of the cut, at once for all readers. changed, if not nil, is called in offset order; for rows that expired last.
// ErrPosition: the table has changed since the difference was read.
func (d *Difference) Apply(changed Changed) error {
	t := d.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.digest != d.before || t.position > d.cut {
		return fmt.Errorf("%w: the table has changed, its position is %d now", ErrPosition, t.position)
	}
	d.applyLocked(changed)
	t.position = d.cut
	return nil
}

func (t *Table) checkSince(h frame.Header) error {
	switch {
	case h.TopicID != t.id.TopicID || h.Partition != t.id.Partition || h.Incarnation != t.id.Incarnation || h.Fold != t.cfg.Fold:
		return fmt.Errorf("%w: it is of partition %d of topic %x, incarnation %x, fold %v", ErrFrame, h.Partition, h.TopicID, h.Incarnation, h.Fold)
	case h.Since != t.position || h.Cut < h.Since:
		return fmt.Errorf("%w: rows since %d at cut %d, the position is %d", ErrFrame, h.Since, h.Cut, t.position)
	}
	return nil
}

type diffBlock struct {
	block      frame.Block
	size, live int // bytes of its rows
	rows       int // live ones
}

func (d *Difference) read(fr *frame.Reader) error {
	since, cut, last := fr.Header().Since, fr.Header().Cut, int64(-1)
	for {
		b, err := fr.Next(nil)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		x := diffBlock{block: b}
		rows := 0
		for pos := b.Begin(); pos < b.End(); rows++ {
			row, next, err := b.Row(pos)
			if err != nil {
				return err
			}
			if row.Offset <= last || row.Offset < since || row.Offset >= cut || d.keys[string(row.Key)] {
				return fmt.Errorf("%w: row at %d after %d, or its key twice", ErrFrame, row.Offset, last)
			}
			d.keys[string(row.Key)] = true
			x.size += next - pos
			if !row.Tombstone {
				x.live += next - pos
				x.rows++
				d.rows++
			}
			last, pos = row.Offset, next
		}
		if rows != b.Len() {
			return fmt.Errorf("%w: a block has %d rows and says %d", ErrFrame, rows, b.Len())
		}
		d.blocks = append(d.blocks, x)
	}
}

// after computes the table's digest with the difference applied, and finds what expires. It needs no lock: nobody else writes.
func (d *Difference) after(start int64) digest.Digest {
	t, sum := d.t, d.before
	for i := range d.blocks {
		for row := range d.blocks[i].all() {
			if _, id, ok := t.findLocked(t.hash(row.Key), row.Key); ok {
				old, _, _ := t.chunks.get(t.rows[id])
				sum.Sub(t.hasher.Entry(old.Key, old.Value))
			}
			if !row.Tombstone {
				sum.Add(t.hasher.Entry(row.Key, row.Value))
			}
		}
	}
	if start <= 0 {
		return sum
	}
	for id, r := range t.rows {
		if row, _, ok := t.chunks.get(r); r != 0 && ok && row.Offset < start && !d.keys[string(row.Key)] {
			sum.Sub(t.hasher.Entry(row.Key, row.Value))
			d.gone = append(d.gone, uint32(id))
		}
	}
	return sum
}

// all yields the rows, which were read before without an error, and where they lie.
func (x *diffBlock) all() func(yield func(row frame.Row, pos int) bool) {
	return func(yield func(frame.Row, int) bool) {
		for pos := x.block.Begin(); pos < x.block.End(); {
			row, next, err := x.block.Row(pos)
			if err != nil || !yield(row, pos) {
				return
			}
			pos = next
		}
	}
}

func (d *Difference) applyLocked(changed Changed) {
	t := d.t
	open := t.chunks.open
	for i := range d.blocks {
		x := &d.blocks[i]
		var no uint32
		if x.live > 0 {
			no = t.chunks.add(chunk{block: x.block, size: x.size, live: x.live, rows: x.rows})
		}
		for row, pos := range x.all() {
			if t.takeLocked(row, makeRef(no, pos)) && changed != nil {
				changed(row, false)
			}
		}
		if x.live > 0 {
			t.tidyLocked(no)
		}
	}
	for _, id := range d.gone {
		row, size, _ := t.chunks.get(t.rows[id])
		if slot, found, ok := t.findLocked(t.hash(row.Key), row.Key); ok && found == id {
			t.outLocked(id, t.hasher.Entry(row.Key, row.Value))
			t.removeLocked(slot, id, size, frame.Row{})
			if changed != nil {
				changed(row, true)
			}
		}
	}
	t.tidyLocked(open)
}

// takeLocked makes a folded row, which lies at r already, that of its key. A tombstone removes the key; it is false where there was none.
func (t *Table) takeLocked(row frame.Row, r ref) bool {
	hash := t.hash(row.Key)
	slot, id, exists := t.findLocked(hash, row.Key)
	var old frame.Row
	var size int
	if exists {
		old, size, _ = t.chunks.get(t.rows[id])
		t.outLocked(id, t.hasher.Entry(old.Key, old.Value))
	}
	switch {
	case row.Tombstone && !exists:
		return false
	case row.Tombstone:
		t.removeLocked(slot, id, size, row)
		return true
	case exists:
		was := t.rows[id]
		t.rows[id] = r
		t.killLocked(was, size)
	default:
		id, _ = t.newRowLocked() // whoever calls has seen that there is room
		t.rows[id] = r
		t.indexLocked(slot, hash, id, row.Key)
	}
	t.inLocked(id, t.hasher.Entry(row.Key, row.Value))
	return true
}
