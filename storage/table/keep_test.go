package table_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// kept lists the cuts of the frames that are marked.
func kept(x *table.Table) (cuts []int64) {
	for _, f := range x.Frames() {
		if f.Kept {
			cuts = append(cuts, f.Cut)
		}
	}
	return cuts
}

// That a frame was marked is stored, whatever comes of the frames beside it, and is true of the frame that supersedes it.
func TestKeep(t *testing.T) {
	clock := int64(1)
	s := openStore(t, vfs.NewMem(), &clock, 1000, false)
	defer func() { s.close(t) }()
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	b, err := s.db.Table(2, identity(fold.LastValue, 1))
	require.NoError(t, err)
	put := func(x *table.Table, offset, start int64) {
		deltas := []oracleDelta{{key: fmt.Sprint(offset), value: "v", op: oraclePut, offset: offset}}
		f := table.Fold{Table: x, Changes: collapse(deltas), End: offset + 1, LeaderEpoch: -1, Cut: true, CutTimeMs: offset, Start: start}
		if x.Position() == f.End {
			f.Changes = nil
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{f}))
	}
	for offset := range int64(4) {
		put(a, offset, 0)
	}
	put(b, 0, 0)

	err = s.db.Keep(background, map[*table.Table]int64{a: 2, b: 7})
	require.ErrorIs(t, err, table.ErrNoFrame)
	require.Empty(t, kept(a), "none of them or all")
	require.NoError(t, s.db.Keep(background, map[*table.Table]int64{a: 2, b: 1}))
	require.NoError(t, s.db.Keep(background, map[*table.Table]int64{a: 4, b: 1}))
	require.Equal(t, []int64{2, 4}, kept(a))
	require.Equal(t, []int64{1}, kept(b))
	require.NoError(t, a.Thin(background, 3))
	put(a, 3, 2)

	s.close(t)
	s.open(t)
	a, err = s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	b, err = s.db.Table(2, identity(fold.LastValue, 1))
	require.NoError(t, err)
	require.Equal(t, []int64{2, 4}, kept(a))
	require.EqualValues(t, 2, a.Frames()[2].Start, "superseded")
	require.Equal(t, []int64{1}, kept(b))
	put(a, 4, 2)
	require.Equal(t, []int64{2, 4}, kept(a), "the next one is not")
	v, err := a.View(4)
	require.NoError(t, err)
	require.True(t, v.Frame().Kept)
	require.NoError(t, v.Close())
	require.NoError(t, a.Thin(background, 2))
	require.NoError(t, a.Trim(background, 4))
	require.Equal(t, []int64{4}, kept(a))
	require.NoError(t, a.Trim(background, 5))
	require.Empty(t, kept(a))
}
