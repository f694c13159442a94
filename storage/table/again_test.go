package table_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// What a table had that was dropped is known until it has been cut again, whatever comes in between, and is what it was.
func TestCutAgain(t *testing.T) {
	clock := int64(1)
	s := openStore(t, vfs.NewMem(), &clock, 1000, false)
	defer func() { s.close(t) }()
	open := func() *table.Table {
		x, err := s.db.Table(1, identity(fold.LastValue, 0))
		require.NoError(t, err)
		return x
	}
	x := open()
	put := func(end, start, ms int64, cut bool) {
		var deltas []oracleDelta
		for o := x.Position(); o < end; o++ {
			deltas = append(deltas, oracleDelta{key: string(rune('a' + o)), value: "v", op: oraclePut, offset: o})
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{{
			Table: x, Changes: collapse(deltas), End: end, LeaderEpoch: -1, Cut: cut, CutTimeMs: ms, Start: start,
		}}))
	}
	put(2, 0, 100, true)
	put(4, 1, 200, true)
	put(6, 1, 300, true)
	require.NoError(t, s.db.Keep(background, map[*table.Table]int64{x: 4}))
	was := x.Frames()
	require.ErrorIs(t, x.CutAgain(background, was), table.ErrFold, "it has them")
	require.NoError(t, s.db.Drop(background, 1))

	x = open()
	require.ErrorIs(t, x.CutAgain(background, []table.Frame{was[1], was[0]}), table.ErrFold)
	require.NoError(t, x.CutAgain(background, was))
	due := func(want ...table.Frame) {
		t.Helper()
		var got []int64
		for i, f := range x.Due() {
			got = append(got, f.Cut)
			require.Equal(t, [3]any{want[i].Start, want[i].CutTimeMs, want[i].Kept}, [3]any{f.Start, f.CutTimeMs, f.Kept})
		}
		require.Len(t, got, len(want))
	}
	due(was...)
	reopen := func() {
		s.close(t)
		s.open(t)
		x = open()
	}
	reopen()
	due(was...)
	put(1, 0, 0, false)
	put(2, 0, 100, true)
	reopen()
	due(was[1:]...)
	put(4, 1, 200, true)
	due(was[2])
	require.Equal(t, was[:2], x.Frames())
	put(7, 1, 400, true)
	due()
	require.Equal(t, []int64{4}, kept(x))
	reopen()
	due()
}
