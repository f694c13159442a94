package table_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// Who knew the table as of a fold finds the rows that the log start has passed since, while they are all stored, and is told where they are not.
func TestRowsThatLeft(t *testing.T) {
	for _, settles := range []bool{false, true} {
		t.Run(fmt.Sprint("settled: ", settles), func(t *testing.T) { rowsThatLeft(t, settles) })
	}
}

func rowsThatLeft(t *testing.T, settles bool) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, settles)
	var views []*table.View
	defer func() {
		for _, v := range views {
			require.NoError(t, v.Close())
		}
		s.close(t)
	}()
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	commit := func(end, start int64, deltas ...oracleDelta) {
		t.Helper()
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: end, Cut: true, Start: start}}))
		if settles {
			require.NoError(t, x.Settle(background))
		}
	}
	put := func(key string, offset int64) oracleDelta {
		return oracleDelta{key: key, op: oraclePut, value: "v", offset: offset}
	}
	view := func() *table.View {
		t.Helper()
		v, err := x.View(table.Current)
		require.NoError(t, err)
		views = append(views, v)
		return v
	}
	left := func(v *table.View, start, from, folded int64) (list []string) {
		t.Helper()
		for row, err := range v.Left(start, from, folded) {
			require.NoError(t, err)
			name := fmt.Sprintf("%s%d", row.Key, row.Offset)
			if row.Tombstone {
				name += " deleted"
			}
			list = append(list, name)
		}
		return list
	}
	commit(4, 0, put("a", 0), put("b", 1), put("c", 2), put("d", 3))
	commit(6, 0, put("b", 4), oracleDelta{key: "d", op: oracleDelete, offset: 5})
	then := view()
	require.Empty(t, left(then, 0, 0, 6))
	commit(8, 3, put("c", 6))

	v := view()
	require.EqualValues(t, 3, v.Start())
	require.True(t, v.LeftSince(0, nil), "nothing was ever trimmed")
	require.Equal(t, []string{"a0", "c2"}, left(v, 0, 0, 6), "c has another row since")
	require.Equal(t, []string{"a0", "b1", "c2"}, left(v, 0, 0, 4), "b, too, for who knows less")
	require.Equal(t, []string{"a0", "c2"}, left(v, 0, 0, 8), "what left at the cut is not taken for superseded")
	require.Equal(t, []string{"c2"}, left(v, 0, 1, 6))
	require.Empty(t, left(v, 3, 3, 6))

	before := v.Moment()
	require.Equal(t, before, then.Moment())
	require.NoError(t, x.Trim(background, 8))
	v = view()
	require.False(t, v.LeftSince(0, nil))
	require.False(t, v.LeftSince(0, &before), "a trim came between")
	require.True(t, v.LeftSince(3, nil))
	require.Empty(t, left(v, 3, 3, 8))

	trimmed := v.Moment()
	commit(10, 6, put("e", 8))
	v = view()
	require.True(t, v.LeftSince(0, &trimmed), "nothing was trimmed since")
	require.Equal(t, []string{"b4", "d5 deleted"}, left(v, 3, 3, 8))
	require.Equal(t, []string{"b4", "d5 deleted"}, left(v, 0, 3, 10), "who knew an earlier start, and saw the trim")

	commit(14, 13, put("f", 10), oracleDelta{key: "g", op: oracleDelete, offset: 11}, put("h", 12), put("i", 13))
	v = view()
	require.Equal(t, []string{"c6", "e8", "f10", "g11 deleted", "h12"}, left(v, 6, 6, 10), "those too that came and were passed within one fold")
	require.EqualValues(t, 1, v.Frame().Digest.Count)
	for _, key := range []string{"f", "g", "h"} {
		_, found, err := v.Last([]byte(key))
		require.NoError(t, err)
		require.False(t, found)
	}

	require.NoError(t, x.Trim(background, 10))
	v = view()
	require.True(t, v.LeftSince(6, nil))
	require.Equal(t, []string{"c6", "e8", "f10", "g11 deleted", "h12"}, left(v, 3, 3, 8), "what left at the cut or before is gone")

	// A frame that is superseded where nothing has come since is the oldest, and its rows are all there.
	y, err := s.db.Table(2, identity(fold.LastValue, 1))
	require.NoError(t, err)
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: y, Changes: collapse([]oracleDelta{put("a", 0), put("b", 1)}), End: 2, Cut: true}}))
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: y, End: 2, Cut: true, Start: 1}}))
	v, err = y.View(table.Current)
	require.NoError(t, err)
	views = append(views, v)
	require.EqualValues(t, 1, v.Frames()[0].Start)
	require.True(t, v.LeftSince(0, nil))
	require.Equal(t, []string{"a0"}, left(v, 0, 0, 2))

	// So it is where the table was trimmed to that frame before, for who has seen that.
	require.NoError(t, y.Trim(background, 2))
	v, err = y.View(table.Current)
	require.NoError(t, err)
	views = append(views, v)
	trimmed = v.Moment()
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: y, End: 2, Cut: true, Start: 2}}))
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: y, Changes: collapse([]oracleDelta{put("c", 2)}), End: 3, Cut: true, Start: 2}}))
	if settles {
		require.NoError(t, y.Settle(background))
	}
	v, err = y.View(table.Current)
	require.NoError(t, err)
	views = append(views, v)
	require.True(t, v.LeftSince(1, &trimmed))
	require.Equal(t, []string{"b1"}, left(v, 1, 0, 2))
	require.NoError(t, y.Trim(background, 3))
	v, err = y.View(table.Current)
	require.NoError(t, err)
	views = append(views, v)
	require.Empty(t, left(v, 2, 0, 3))
}
