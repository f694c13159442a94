package table_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// What changed since is counted as what it is where many updates are of few keys, however many folds they were in: at once between two folds, and
// closely within one, where that may tell that it is little.
func TestRowsSince(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	defer s.close(t)
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	end := int64(0)
	commit := func(cut bool, keys, deltas int) {
		t.Helper()
		var list []oracleDelta
		for i := range deltas {
			d := oracleDelta{key: fmt.Sprintf("k%03d", i%keys), op: oraclePut, value: "v", offset: end}
			if i%keys == 3 && keys < 100 {
				d.op = oracleDelete
			}
			list = append(list, d)
			end++
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(list), End: end, Cut: cut}}))
	}
	atMost := func(cut, since, limit int64) int64 {
		t.Helper()
		n, err := x.RowsSince(background, cut, since, limit)
		require.NoError(t, err)
		return n
	}
	commit(true, 100, 100)
	require.EqualValues(t, 100, atMost(100, 0, 0))
	for range 20 {
		commit(false, 10, 50)
	}
	commit(true, 10, 50)
	require.EqualValues(t, 1150, end)
	const cut = 1150
	require.EqualValues(t, 10, atMost(cut, 100, 20), "each key once, deleted ones too")
	require.EqualValues(t, 10, atMost(cut, 1000, 20))
	require.EqualValues(t, 100, atMost(cut, 0, 200))
	require.EqualValues(t, 100, atMost(cut, 95, 5), "these are above the limit, whatever is in the fold")
	require.EqualValues(t, 15, atMost(cut, 95, 20), "five rows of the fold, and ten")
	require.EqualValues(t, 100, atMost(cut, 50, 20), "it is more than the limit")
	require.EqualValues(t, 10, atMost(cut, 1100, 0))
	require.EqualValues(t, 5, atMost(cut, 1145, 5))
	require.Zero(t, atMost(cut, cut, 0))
	require.Zero(t, atMost(cut, math.MaxInt64, 0))
	require.EqualValues(t, 50, atMost(100, 50, 99), "the former frame has its own")

	// A trim changes nothing of what stands, and below it nothing is known.
	require.NoError(t, x.Trim(background, cut))
	require.EqualValues(t, math.MaxInt64, atMost(cut, cut-1, 20), "it is counted anew, for the log start or another frame")
	_, err = x.RowsSince(background, 100, 50, 20)
	require.ErrorIs(t, err, table.ErrNoFrame)
	commit(true, 10, 50)
	require.EqualValues(t, 10, atMost(cut+50, cut, 20))
	require.EqualValues(t, math.MaxInt64, atMost(cut+50, cut-1, 20))
	require.EqualValues(t, 10, atMost(cut+50, cut, 20))
	ctx, cancel := context.WithCancel(background)
	cancel()
	commit(true, 10, 50)
	_, err = x.RowsSince(ctx, cut+100, cut, 20)
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 10, atMost(cut+100, cut+51, 15))
	_, err = x.RowsSince(ctx, cut+100, cut+51, 15)
	require.ErrorIs(t, err, context.Canceled, "also where the frame has been counted")
}
