package table_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// Rows that no key leads to, or another one does, are right for whoever reads them in offset order: the index is read too.
func TestVerifyIndex(t *testing.T) {
	var clock int64
	fs := vfs.NewMem()
	s := &store{fs: fs, clock: &clock, max: 4096, opts: options(fs, true)}
	s.open(t)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	require.NoError(t, a.VerifyIndex(background), "of no rows")
	var deltas []oracleDelta
	for o := range int64(300) {
		op := oraclePut
		if o%10 == 9 {
			op = oracleDelete
		}
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", o%200), offset: o, op: op, value: fmt.Sprint(o)})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: 300, Cut: true}}))
	require.NoError(t, a.VerifyIndex(background))

	key := func(k string) []byte { return append(keys.AppendTablePrefix(nil, keys.TableIndex, 1), k...) }
	was, closer, err := s.pdb.Get(key("k150"))
	require.NoError(t, err)
	entry := append([]byte{}, was...)
	require.NoError(t, closer.Close())
	require.NoError(t, s.pdb.Delete(key("k150"), pebble.NoSync))
	_, err = a.Verify(background, table.Current)
	require.NoError(t, err, "the rows are there")
	require.ErrorIs(t, a.VerifyIndex(background), table.ErrCorrupt)
	require.NoError(t, s.pdb.Set(key("k150"), entry, pebble.NoSync))
	require.NoError(t, a.VerifyIndex(background))
	require.NoError(t, s.pdb.Set(key("k150"), entry[:3], pebble.NoSync))
	require.ErrorIs(t, a.VerifyIndex(background), table.ErrCorrupt)
}
