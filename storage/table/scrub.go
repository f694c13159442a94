package table

import (
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/damage"
)

// Scrub reads up to n rows of the table at Position, in key order above after (nil: from the first), and compares each with what the index says
// of it: that it is there, and its hash. So a table that goes on changing is looked at piece by piece, and no piece pins sstables for long. It
// returns the last key that it read, nil at the end of the table, and how many rows it was. The error is ErrCorrupt where a row is damaged or
// missing. Where a block is read from, see Verify.
//
// It is for a table without frames that stay, such as a replica's. The index itself is not proved: an entry that is missing is not missed. Where
// there are frames, ScrubFrame compares with a digest.
func (t *Table) Scrub(after []byte, n int) (last []byte, rows int, err error) {
	v, err := t.View(Current)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	last, rows, err = v.scrub(after, n)
	return last, rows, t.damaged(v.f.Cut, err)
}

func (v *View) scrub(after []byte, n int) (last []byte, rows int, err error) {
	merged, err := v.openIndex(nil, after)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = damage.Join(err, merged.close()) }()
	it, err := v.iterRows()
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = damage.Join(err, it.it.Close()) }()
	p := page{ordinal: v.t.ordinal, rows: it, hashed: true}
	more, err := p.fill(merged, n)
	if err == nil {
		err = p.lookUp()
	}
	if err != nil {
		return nil, 0, err
	}
	var h digest.Hasher
	for i := range p.found {
		if r := &p.found[i]; h.Entry(r.Key, r.Value) != p.hashes[i] {
			return nil, i, &CorruptError{Ordinal: v.t.ordinal, What: "row", Offset: r.Offset, Why: "does not hash to what its index entry says"}
		}
	}
	if len(p.found) == 0 || !more {
		return nil, len(p.found), nil
	}
	return p.found[len(p.found)-1].Key, len(p.found), nil
}
