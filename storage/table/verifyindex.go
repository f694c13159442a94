package table

import (
	"context"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/damage"
)

// VerifyIndex reads the index of the rows at Position from its first key to its last, and compares the sum of the hashes that its entries keep with the digest.
// Verify and ScrubRows do not tell of an entry that is missing, nor Verify of one that cannot be read: the rows are there, and no key leads to them.
// The error is ErrCorrupt where the index is not that of the rows; rows are not looked at.
func (t *Table) VerifyIndex(ctx context.Context) (err error) {
	v, err := t.View(Current)
	if err != nil {
		return err
	}
	defer func() { err = t.damaged(v.f.Cut, damage.Join(err, v.Close())) }()
	index, err := v.openIndex(nil, nil)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, index.close()) }()
	var sum digest.Digest
	for n := 1; ; n++ {
		_, e, ok, err := index.next()
		switch {
		case err != nil:
			return err
		case !ok && sum != v.f.Digest:
			return &CorruptError{Ordinal: t.ordinal, What: "index", Offset: v.f.Cut, Why: "its entries are not those of the rows that were folded"}
		case !ok:
			return nil
		case !e.tombstone:
			sum.Add(e.hash)
		}
		if n%ctxRows == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
