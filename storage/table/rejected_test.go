package table_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// A put that is rejected leaves the row as it was, and a patch behind it in the same fold meets that row.
func TestFoldAfterARejectedPut(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	defer s.close(t)
	x, err := s.db.Table(1, identity(fold.JSONMergePatch, 0))
	require.NoError(t, err)
	put := oracleDelta{key: "k", op: oraclePut, value: `{"a":1}`}
	large := oracleDelta{key: "k", op: oraclePut, value: `{"b":"` + strings.Repeat("x", rowMax) + `"}`, offset: 1}
	patch := oracleDelta{key: "k", op: oraclePatchOp, value: `{"c":2}`, offset: 2}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse([]oracleDelta{put}), End: 1}}))
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse([]oracleDelta{large, patch}), End: 3}}))
	row, ok, err := x.Get([]byte("k"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, `{"a":1,"c":2}`, string(row.Value))
	rejected := x.Rejected()
	require.EqualValues(t, 1, rejected.Total())
}
