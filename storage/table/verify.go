package table

import (
	"context"
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Verify reads the rows of the frame at cut (or Current) back, checks the checksum of each, hashes them and compares. It returns the
// digest of what is stored; the error is ErrDigest where that is not the frame's.
func (t *Table) Verify(ctx context.Context, cut int64) (got digest.Digest, err error) {
	v, err := t.View(cut)
	if err != nil {
		return got, err
	}
	defer v.Close()
	var h digest.Hasher
	var canceled error
	_, err = v.offsets(0, false, func(r *frame.Row) bool {
		got.Add(h.Entry(r.Key, r.Value))
		if got.Count%4096 == 0 {
			canceled = ctx.Err()
		}
		return canceled == nil
	})
	if err == nil {
		err = canceled
	}
	if err == nil && got != v.f.Digest {
		err = fmt.Errorf("%w: ordinal %d at %d stores %d rows that hash differently from the %d that were folded", ErrDigest,
			t.ordinal, v.f.Cut, got.Count, v.f.Digest.Count)
	}
	return got, err
}
