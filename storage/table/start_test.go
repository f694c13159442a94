package table_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// A cut lets no more rows go than their keys fit the memory for it: the log start moves as far as that, and on with the next cuts.
func TestExpiryOfManyRowsTakesSeveralCuts(t *testing.T) {
	const rows = 60 // four times what fits
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, true)
	defer s.close(t)
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var deltas []oracleDelta
	for i := range int64(rows) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%02d", i), op: oraclePut, value: "v", offset: i})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: rows, Cut: true}}))
	cuts := 0
	for end := int64(rows); x.Start() < rows; cuts++ {
		before := x.Start()
		end++
		last := oracleDelta{key: "last", op: oraclePut, value: "v", offset: end - 1}
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse([]oracleDelta{last}), End: end, Cut: true, Start: rows}}))
		require.Greater(t, x.Start(), before)
		require.NoError(t, countRows(x, int(rows-x.Start())+1))
	}
	require.Greater(t, cuts, 3)
}

// Where nothing was folded since the newest cut, the log start moves there: the frame is superseded by one of the same cut and time, and another
// identity. Older frames, and whoever reads the former one, keep what they had.
func TestLogStartMovesAtTheNewestCut(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	defer s.close(t)
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	commit := func(end, start, timeMs int64, deltas ...oracleDelta) {
		t.Helper()
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: end, Cut: true, Start: start, CutTimeMs: timeMs}}))
	}
	put := func(key string, offset int64) oracleDelta {
		return oracleDelta{key: key, op: oraclePut, value: "v", offset: offset}
	}
	commit(3, 0, 100, put("a", 0), put("b", 1), put("c", 2))
	commit(5, 0, 200, put("b", 3), put("d", 4))
	older, former := x.Frames()[0], x.Frames()[1]
	reading, err := x.View(5)
	require.NoError(t, err)
	defer reading.Close()

	commit(5, 4, 300)
	require.Equal(t, older, x.Frames()[0])
	frame := x.Frames()[1]
	require.Len(t, x.Frames(), 2)
	require.EqualValues(t, []int64{5, 4, 1, 200}, []int64{frame.Cut, frame.Start, frame.Rows(), frame.CutTimeMs})
	require.NotEqual(t, x.Pub(former), x.Pub(frame))
	require.Equal(t, []table.StartMove{{Cut: 5, Start: 4}}, x.Starts())
	require.Equal(t, []string{"a", "b", "c"}, keysOf(t, x, 3))
	require.Equal(t, []string{"d"}, keysOf(t, x, 5))
	require.Equal(t, []string{"d"}, keysOf(t, x, table.Current))
	require.Equal(t, former, reading.Frame())
	require.Equal(t, []string{"a", "b", "c", "d"}, keysIn(t, reading))

	commit(5, 4, 400) // nothing moves
	require.Equal(t, frame, x.Frames()[1])
	commit(5, 5, 500)
	require.Equal(t, []table.StartMove{{Cut: 5, Start: 5}}, x.Starts())
	require.Empty(t, keysOf(t, x, 5))
	commit(7, 5, 600, put("b", 6))
	require.NoError(t, x.Thin(background, 5))
	require.Equal(t, []string{"a", "b", "c"}, keysOf(t, x, 3), "what left at a cut that was thinned")
	require.NoError(t, x.Trim(background, 7))
	require.Equal(t, []string{"b"}, keysOf(t, x, 7))
	commit(7, 7, 700) // the oldest frame, to which was trimmed
	require.NoError(t, x.Trim(background, 7))
	commit(8, 7, 800, put("a", 7))
	require.NoError(t, x.Trim(background, 8))
	require.Equal(t, []string{"a"}, keysOf(t, x, 8))
}

// keysOf verifies a frame and lists its keys, which both ways to read it have.
func keysOf(t *testing.T, x *table.Table, cut int64) []string {
	t.Helper()
	_, err := x.Verify(background, cut)
	require.NoError(t, err)
	v, err := x.View(cut)
	require.NoError(t, err)
	defer v.Close()
	return keysIn(t, v)
}

func keysIn(t *testing.T, v *table.View) (keys []string) {
	t.Helper()
	var inOrder []string
	for row, err := range v.Offsets(0, false) {
		require.NoError(t, err)
		inOrder = append(inOrder, string(row.Key))
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		_, ok, err := v.Get([]byte(key))
		require.NoError(t, err)
		if ok {
			keys = append(keys, key)
		}
	}
	require.ElementsMatch(t, keys, inOrder)
	return keys
}
