package table

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// The log start S takes effect at a cut N: rows and tombstones whose last delta lies below S leave the table there, and frames below N
// keep them. To the table it is as if N's fold had superseded them: their offsets go into its deletion vector, their index entries
// become undo entries of the interval before. The horizon stays: whoever applies what changed since c drops the rows below S itself, and with
// them the keys whose tombstones are gone.
//
// S may move at a cut that is there already, where no delta has come since. Then the frame of (N, S) is superseded by one of (N, S'): all that
// the fold which cut it wrote for the frames before stays as it is, and what leaves now joins it, in the vector that ends at N and in the
// interval before N.

// expiry is what leaves the table at a fold's cut.
type expiry struct {
	start int64       // S from the cut on
	rows  []tombstone // that were there before the fold, in key order; those that the fold replaces among them
	it    *spanIter
	index *walker
	undo  *walker // nil: no key has left since the newest frame
	k     []byte
}

// beginExpiry finds what leaves the table. Memory: the keys. What is more than fits waits for a later cut: start is lower then.
func (j *job) beginExpiry(ctx context.Context) error {
	f := j.f
	j.expiry = expiry{start: j.old.start}
	last, cuts := j.before()
	if n := len(j.old.starts); cuts && n > 0 && j.old.starts[n-1].Cut > last {
		it, err := j.t.db.iterateSpan(undoSpan(j.t.ordinal, last))
		if err != nil {
			return err
		}
		j.expiry.undo = newWalker(it, 1, 0)
	}
	if !f.Cut || f.Start <= j.old.start || len(j.old.starts) >= startsMax {
		return nil
	}
	j.expiry.start = f.Start
	err := j.collectExpired(ctx)
	if f.Unread && (pebble.IsCorruptionError(err) || errors.Is(err, ErrCorrupt)) {
		err = j.collectIndexed()
	}
	if err != nil {
		return fmt.Errorf("rows below %d: %w", f.Start, err)
	}
	if j.next.start = j.expiry.start; j.next.start > j.old.start {
		j.next.moveStart(StartMove{f.End, j.next.start})
	}
	slices.SortFunc(j.expiry.rows, func(a, b tombstone) int { return bytes.Compare(a.key, b.key) })
	if len(j.expiry.rows) == 0 {
		return nil
	}
	if j.expiry.it, err = j.t.db.iterate(keys.TableIndex, j.t.ordinal); err != nil {
		return err
	}
	j.expiry.index = newWalker(j.expiry.it, int64(len(j.expiry.rows)), j.old.digest.Count)
	return nil
}

// endExpiry closes what beginExpiry opened.
func (j *job) endExpiry() (err error) {
	if j.expiry.it != nil {
		err = j.expiry.it.Close()
	}
	if j.expiry.undo != nil {
		err = damage.Join(err, j.expiry.undo.it.Close())
	}
	j.expiry = expiry{}
	return err
}

// leftSince tells whether a key that the index does not have left it since the newest frame: at a cut that was thinned. Its undo entry is
// there, at k, and stays. Keys ascend.
func (x *expiry) leftSince(k []byte) (bool, error) {
	if x.undo == nil {
		return false, nil
	}
	return x.undo.find(k)
}

// collectExpired reads the rows between the old start and the new one that no fold has superseded.
func (j *job) collectExpired(ctx context.Context) (err error) {
	upper := min(j.expiry.start, j.old.position)
	if j.old.start >= upper {
		return nil
	}
	base, err := j.t.db.cfg.DB.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, base.Close()) }()
	list, err := newDeadList(base, j.t.ordinal, j.old.start, frameAt(j.old.position))
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, list.close()) }()
	it, err := cloneSpan(base, keys.AppendTableOffset(nil, keys.TableRows, j.t.ordinal, j.old.start),
		keys.AppendTableOffset(nil, keys.TableRows, j.t.ordinal, upper))
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	m := &marks{list: list}
	held := 0
	for ok := it.First(); ok; ok = it.Next() {
		offset, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
		if !good {
			return &CorruptError{Ordinal: j.t.ordinal, What: "key", Offset: -1, Why: "malformed"}
		}
		dead, err := m.dead(offset)
		if err != nil {
			return err
		}
		if dead {
			continue
		}
		if held > j.t.db.sizes.expiryBytes {
			j.expiry.start = offset
			return nil
		}
		if len(j.expiry.rows)%4096 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		row, err := decodeRow(j.t.ordinal, offset, v)
		if err != nil {
			return err
		}
		j.expiry.rows = append(j.expiry.rows, tombstone{offset, slices.Clone(row.Key)})
		held += len(row.Key) + expiredBytes
	}
	return damage.Of(it.Error())
}

// collectIndexed is collectExpired by the index. Memory: 16 bytes a row beside the keys.
func (j *job) collectIndexed() (err error) {
	v, err := j.t.View(Current)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	upper := min(j.f.Start, j.old.position)
	type leaving struct{ offset, bytes int64 }
	var list []leaving
	err = v.eachEntry(func(key []byte, e *entry) error {
		if e.offset < upper {
			list = append(list, leaving{e.offset, int64(len(key)) + expiredBytes})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b leaving) int { return cmp.Compare(a.offset, b.offset) })
	held := int64(0)
	for _, p := range list {
		if held > int64(j.t.db.sizes.expiryBytes) {
			upper, j.expiry.start = p.offset, p.offset
			break
		}
		held += p.bytes
	}
	j.expiry.rows = nil
	return v.eachEntry(func(key []byte, e *entry) error {
		if e.offset < upper {
			j.expiry.rows = append(j.expiry.rows, tombstone{e.offset, slices.Clone(key)})
		}
		return nil
	})
}

// moveStart notes a move; of several at one cut the last.
func (m *meta) moveStart(x StartMove) {
	if n := len(m.starts); n > 0 && m.starts[n-1].Cut == x.Cut {
		m.starts = m.starts[:n-1]
	}
	m.starts = append(m.starts, x)
}

// startsMax bounds how many moves are remembered between two trims: one a minute is 1,440 a day. Beyond it the log start waits.
const startsMax = 1 << 16

// expiredBytes is what a row that expires takes in memory beside its key.
const expiredBytes = 64

// expired tells whether a row at an offset leaves the table at the fold's cut.
func (j *job) expired(offset int64) bool { return offset < j.expiry.start }

// leaveBelow lets the keys below limit go that the fold does not touch; nil is no limit. Of the key at limit it returns whether it is among
// those that expire.
func (j *job) leaveBelow(limit []byte) (at bool, err error) {
	x := &j.expiry
	for len(x.rows) > 0 {
		if limit != nil {
			switch c := bytes.Compare(x.rows[0].key, limit); {
			case c > 0:
				return false, nil
			case c == 0:
				x.rows = x.rows[1:]
				return true, nil
			}
		}
		if err := j.leave(&x.rows[0]); err != nil {
			return false, err
		}
		x.rows = x.rows[1:]
	}
	return false, nil
}

// leave takes one untouched key out.
func (j *job) leave(r *tombstone) error {
	x := &j.expiry
	x.k = keys.AppendTableIndex(x.k[:0], j.t.ordinal, r.key)
	found, err := x.index.find(x.k)
	prior := indexed{found: found}
	if err == nil && found {
		prior.entry, err = currentEntry(x.it, j.t.ordinal)
	}
	switch {
	case err != nil:
		return err
	case !found || prior.offset != r.offset:
		return &CorruptError{Ordinal: j.t.ordinal, What: "index entry", Offset: r.offset, Why: "does not point at its key's row"}
	}
	j.takeOut(r.key, &prior)
	return nil
}

// takeOut deletes a key's index entry.
func (j *job) takeOut(key []byte, prior *indexed) {
	x := &j.expiry
	x.k = keys.AppendTableIndex(x.k[:0], j.t.ordinal, key)
	j.s.delete(keys.TableIndex, x.k)
	if last, cuts := j.before(); cuts && prior.offset < last {
		j.s.set(keys.TableUndo, keys.AppendTableUndo(nil, j.t.ordinal, last, key), appendEntry(nil, &prior.entry))
	}
	j.dead = append(j.dead, prior.offset)
	j.next.replace(len(key), prior, &indexed{})
}

// joinVector takes up the vector of earlier folds that ended where this one does: this one cuts there, maybe once more, and folds nothing but
// rows expire.
func (j *job) joinVector() (err error) {
	base, err := j.t.db.cfg.DB.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, base.Close()) }()
	list, err := newVectorList(base, j.t.ordinal, j.f.End, j.f.End)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, list.close()) }()
	if err := list.below(math.MaxInt64, func(o, _ int64) { j.dead = append(j.dead, o) }); err != nil {
		return err
	}
	j.s.deleteRange(keys.TableVectors, keys.AppendTableOffset(nil, keys.TableVectors, j.t.ordinal, j.f.End),
		keys.AppendTableOffset(nil, keys.TableVectors, j.t.ordinal, j.f.End+1))
	return nil
}

// withExpiry runs what writes the fold between the two.
func (j *job) withExpiry(ctx context.Context, write func() error) error {
	err := j.beginExpiry(ctx)
	if err == nil {
		err = write()
	}
	return damage.Join(err, j.endExpiry())
}
