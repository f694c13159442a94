package memory

import (
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// ErrPatch is wrapped where a patch is not one: a key twice, a tombstone, an offset at or above the position.
var ErrPatch = errors.New("not a valid patch")

// Patch repairs the table at its position: puts are stored as they stand, the keys of deletes go. All rows that stay are hashed anew,
// so that a damaged one cannot hide behind the digest that was kept; nothing is changed unless what is stored then has the
// digest want (else ErrDigest). Rows that are so damaged that they cannot be read go. Hashing takes no lock, so reads wait for the changes
// alone; for 0.1 s and more for 1 M rows where the bytes of a key were damaged, since the index is built anew then. The key order is
// built anew by the next Scan. changed may be nil. The caller is the table's one writer.
func (t *Table) Patch(puts []frame.Row, deletes [][]byte, want digest.Digest, changed Changed) error {
	p := patch{keys: make(map[string]bool, len(puts)+len(deletes))}
	if err := p.check(t, puts, deletes); err != nil {
		return err
	}
	if d := p.after(t, puts); d != want {
		return fmt.Errorf("%w: %d rows would be stored at %d, want %d", ErrDigest, d.Count, t.position, want.Count)
	}
	if len(t.rows)-len(t.free)+len(puts) > maxRows {
		return ErrFull
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p.dropLostLocked(t)
	t.order.Store(nil) // what a damaged key went by in it cannot be told
	open := t.chunks.open
	for _, key := range deletes {
		row := frame.Row{Key: key, Offset: t.position - 1, Tombstone: true}
		if t.takeLocked(row, 0) && changed != nil {
			changed(row, false)
		}
	}
	for i := range puts {
		r := t.chunks.put(&puts[i])
		row, _, _ := t.chunks.get(r)
		if t.takeLocked(row, r); changed != nil {
			changed(row, false)
		}
	}
	t.tidyLocked(open)
	t.digest = want
	t.scrub = nil // what it has summed up is of the rows as they were
	return nil
}

type patch struct {
	keys map[string]bool // all that it touches
	lost []uint32        // rows that are to go and that the index does not find, or whose bytes cannot be read
}

func (p *patch) check(t *Table, puts []frame.Row, deletes [][]byte) error {
	for i := range puts {
		row := &puts[i]
		if row.Tombstone || row.Offset < 0 || row.Offset >= t.position || p.keys[string(row.Key)] {
			return fmt.Errorf("%w: a row at %d (tombstone: %v), the position is %d; or its key twice", ErrPatch, row.Offset, row.Tombstone, t.position)
		}
		p.keys[string(row.Key)] = true
	}
	for _, key := range deletes {
		if p.keys[string(key)] {
			return fmt.Errorf("%w: a key twice", ErrPatch)
		}
		p.keys[string(key)] = true
	}
	return nil
}

// after hashes what will be stored. It needs no lock: nobody else writes, and bytes of rows never change.
func (p *patch) after(t *Table, puts []frame.Row) digest.Digest {
	var rows digest.Adder
	for id, r := range t.rows {
		if r == 0 {
			continue
		}
		row, _, ok := t.chunks.get(r)
		switch {
		case !ok:
			p.lost = append(p.lost, uint32(id))
		case !p.keys[string(row.Key)]:
			rows.Add(row.Key, row.Value)
		default:
			if _, found, ok := t.findLocked(t.hash(row.Key), row.Key); !ok || found != uint32(id) {
				p.lost = append(p.lost, uint32(id))
			}
		}
	}
	for i := range puts {
		rows.Add(puts[i].Key, puts[i].Value)
	}
	return rows.Digest()
}

// dropLostLocked takes out rows whose key the index does not lead to, since its bytes are not those any more that were indexed. Their chunks are
// never tidied again: what else is damaged in them is not known.
func (p *patch) dropLostLocked(t *Table) {
	if len(p.lost) == 0 {
		return
	}
	for _, id := range p.lost {
		t.chunks.list[t.rows[id].chunk()].size = 0
		t.rows[id] = 0
		t.free = append(t.free, id)
	}
	t.idx = newIndex(len(t.rows) - len(t.free))
	for id, r := range t.rows {
		row, _, ok := t.chunks.get(r)
		if r == 0 || !ok {
			continue
		}
		hash := t.hash(row.Key)
		if slot, _, twice := t.findLocked(hash, row.Key); !twice {
			t.idx.insert(slot, hash, uint32(id))
		}
	}
}
