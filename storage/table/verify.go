package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/damage"
)

// Verify reads the rows of the frame at cut (or Current) back, checks the checksum of each, hashes them and compares. It returns the
// digest of what is stored; the error is ErrDigest where that is not the frame's, and ErrCorrupt where a row or a block is damaged.
// It is one pass, and pins sstables to its end: a Scrub does it in pieces, at leisure.
//
// What it hashes was read back from files that were synced before a commit, or a compaction, made them part of the database. Some
// blocks may come from Pebble's block cache: but only a read of the file, its checksum verified, puts a block there (Pebble 2.1.7:
// sstable/block.Reader.Read; writers only evict), so each was read back since it was written, if not by this call. No iterator can
// pass the cache by; compactions do not fill it, and look into it first as well. Damage that came after such a read is not seen, no
// more than by a read that the system's page cache answers.
func (t *Table) Verify(ctx context.Context, cut int64) (got digest.Digest, err error) {
	v, err := t.View(cut)
	if err != nil {
		return got, err
	}
	defer v.Close()
	var all tally
	_, err = all.read(ctx, v, 0)
	got = all.rows.Digest()
	if err == nil && got != v.f.Digest {
		err = t.differs(&v.f, got)
	}
	return got, t.damaged(v.f.Cut, err)
}

// VerifyIndex reads the index of the table at Position, and compares the sum of its entries with the digest. Errors are as of Verify.
func (t *Table) VerifyIndex(ctx context.Context) (err error) {
	v, err := t.View(Current)
	if err != nil {
		return t.damaged(Current, err)
	}
	defer func() { err = t.damaged(v.f.Cut, damage.Join(err, v.Close())) }()
	var sum digest.Digest
	n := 0
	err = v.eachEntry(func(_ []byte, e *entry) error {
		if !e.tombstone {
			sum.Add(e.hash)
		}
		if n++; n%ctxRows == 0 {
			return ctx.Err()
		}
		return nil
	})
	if err == nil && sum != v.f.Digest {
		err = &CorruptError{Ordinal: t.ordinal, What: "index", Offset: -1, Why: fmt.Sprintf("%d entries that sum up to something else than the %d rows", sum.Count, v.f.Digest.Count)}
	}
	return err
}

// behind says where reading has stopped.
func behind(next int64, err error) error {
	return fmt.Errorf("behind the rows below offset %d: %w", next, err)
}

// damaged makes ErrCorrupt of what Pebble says of a damaged block, and says whose it is.
func (t *Table) damaged(cut int64, err error) error {
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrCorrupt) {
		return fmt.Errorf("%w: ordinal %d at %d: %w", ErrCorrupt, t.ordinal, cut, err)
	}
	return err
}

// differs says that a frame's rows have another digest than the frame.
func (t *Table) differs(f *Frame, got digest.Digest) error {
	return fmt.Errorf("%w: ordinal %d at %d stores %d rows that hash differently from the %d that were folded", ErrDigest,
		t.ordinal, f.Cut, got.Count, f.Digest.Count)
}
