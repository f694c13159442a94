package table

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// ExpireTombstones removes the tombstones whose deltas were given up (by Trim) before beforeMs, ms since the epoch, and moves the
// horizon past them. It returns how many rows went; Settle may be due then, to give back their space. Tombstones above the oldest frame never expire: frames
// between hang on their index entries.
func (t *Table) ExpireTombstones(ctx context.Context, beforeMs int64) (removed int, err error) {
	return t.ExpireBelow(ctx, t.Expirable(beforeMs))
}

// Expirable returns the offset below which ExpireTombstones would remove tombstones; 0: none.
func (t *Table) Expirable(beforeMs int64) (limit int64) {
	for _, x := range t.state.Load().trims {
		if x.atMs < beforeMs {
			limit = max(limit, x.cut)
		}
	}
	return limit
}

// ExpireBelow is ExpireTombstones for those below an offset, which is lowered to the oldest frame.
func (t *Table) ExpireBelow(ctx context.Context, limit int64) (removed int, err error) {
	end, err := t.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	if frames := t.state.Load().frames; len(frames) > 0 {
		limit = min(limit, frames[0].Cut)
	}
	for {
		n, more, err := t.expire(ctx, limit)
		removed += n
		if err != nil {
			return removed, fmt.Errorf("table: expire tombstones of ordinal %d: %w", t.ordinal, err)
		}
		if !more {
			return removed, nil
		}
	}
}

// tombstone is an entry of TableTombstones.
type tombstone struct {
	offset int64
	key    []byte
}

// expire removes up to expireRows tombstones below limit in one commit.
func (t *Table) expire(ctx context.Context, limit int64) (removed int, more bool, err error) {
	list, err := t.tombstones(limit)
	if err != nil || len(list) == 0 {
		return 0, false, err
	}
	last := list[len(list)-1].offset
	slices.SortFunc(list, func(a, b tombstone) int { return slices.Compare(a.key, b.key) })
	s := t.db.sink()
	defer s.discard()
	gone, err := t.deleteCurrent(s, list)
	if err != nil {
		return 0, false, err
	}
	m := t.state.Load().clone()
	if len(gone) > 0 {
		slices.Sort(gone)
		m.horizon = max(m.horizon, gone[len(gone)-1]+1)
		m.past.expire(int64(len(gone)))
		if err := t.markGone(s, gone); err != nil {
			return 0, false, err
		}
	}
	from, _ := keys.TableSpan(keys.TableTombstones, t.ordinal)
	s.deleteRange(keys.TableTombstones, from, keys.AppendTableOffset(nil, keys.TableTombstones, t.ordinal, last+1))
	t.putMeta(s, m)
	if err := s.commit(ctx, nil, t); err != nil {
		return 0, false, err
	}
	t.state.Store(m)
	return len(gone), len(list) == t.db.sizes.expireRows, nil
}

func (t *Table) tombstones(limit int64) (list []tombstone, err error) {
	from, _ := spaceSpan(keys.TableTombstones, t.ordinal)
	it, err := t.db.iterateSpan(from, keys.AppendTableOffset(nil, keys.TableTombstones, t.ordinal, limit))
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && len(list) < t.db.sizes.expireRows && err == nil; ok = it.Next() {
		offset, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
		var v []byte
		if v, err = it.ValueAndErr(); err != nil {
			break
		}
		switch {
		case !good || len(v) == 0:
			err = &CorruptError{Ordinal: t.ordinal, What: "tombstone", Offset: offset, Why: "malformed"}
		case v[0] != tombstoneVersion:
			err = &VersionError{What: "tombstone", Version: v[0]}
		default:
			list = append(list, tombstone{offset, slices.Clone(v[1:])})
		}
	}
	return list, damage.Join(err, it.Error(), it.Close())
}

// deleteCurrent deletes the index entries of those tombstones that still are their keys' rows. The others were superseded: a
// deletion vector has them.
func (t *Table) deleteCurrent(s *sink, sorted []tombstone) (gone []int64, err error) {
	it, err := t.db.iterate(keys.TableIndex, t.ordinal)
	if err != nil {
		return nil, err
	}
	w := newWalker(it, int64(len(sorted)), t.state.Load().digest.Count)
	var k []byte
	for _, x := range sorted {
		k = keys.AppendTableIndex(k[:0], t.ordinal, x.key)
		found, err := w.find(k)
		var e entry
		if err == nil && found {
			e, err = currentEntry(it, t.ordinal)
		}
		if err != nil {
			return nil, damage.Join(err, it.Close())
		}
		if found && e.tombstone && e.offset == x.offset {
			s.delete(keys.TableIndex, k)
			gone = append(gone, x.offset)
		}
	}
	return gone, damage.Of(it.Close())
}

// markGone notes ascending offsets as dead in their segments.
func (t *Table) markGone(s *sink, expired []int64) error {
	it, err := t.db.iterate(keys.TableSegments, t.ordinal)
	if err != nil {
		return err
	}
	ok := it.SeekLT(keys.AppendTableOffset(nil, keys.TableSegments, t.ordinal, expired[0]+1))
	for ; ok && len(expired) > 0 && err == nil; ok = it.Next() {
		var g segment
		if g, err = t.segmentAt(it); err != nil {
			break
		}
		n, _ := slices.BinarySearch(expired, g.hi)
		if n > 0 {
			err = g.note(t.ordinal, deadRows(expired[:n]), 0)
			putSegment(s, t.ordinal, &g)
			expired = expired[n:]
		}
	}
	return damage.Join(err, it.Error(), it.Close())
}

// deadRows makes rows that are gone of offsets.
func deadRows(offsets []int64) []deadRow {
	list := make([]deadRow, len(offsets))
	for i, o := range offsets {
		list[i] = deadRow{o, gone}
	}
	return list
}
