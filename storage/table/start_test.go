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
