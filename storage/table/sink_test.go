package table_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// Rows of several tables that are folded together lie at once where they stay: no compaction moves them.
func TestRowsAreWrittenOnce(t *testing.T) {
	s := &store{fs: vfs.NewMem(), clock: new(int64), max: 1 << 20}
	s.opts = options(s.fs, false)
	s.opts.DisableAutomaticCompactions = true
	s.open(t)
	t.Cleanup(func() { s.close(t) })
	tables := make([]*table.Table, 3)
	for i := range tables {
		var err error
		tables[i], err = s.db.Table(uint32(i+1), identity(fold.LastValue, int32(i)))
		require.NoError(t, err)
	}
	const rows, rounds = 600, 4
	value := strings.Repeat("v", 2000)
	for round := range int64(rounds) {
		var folds []table.Fold
		for _, x := range tables {
			list := make([]oracleDelta, rows)
			for i := range list {
				list[i] = oracleDelta{key: fmt.Sprintf("k%05d", i), op: oraclePut, value: value, offset: round*rows + int64(i)}
			}
			folds = append(folds, table.Fold{Table: x, Changes: collapse(list), End: (round + 1) * rows, Cut: true})
		}
		require.NoError(t, s.db.Commit(background, folds))
	}
	levels, err := s.pdb.SSTables()
	require.NoError(t, err)
	var bytes uint64
	for level, list := range levels {
		for _, f := range list {
			if keys.TableSpace(f.Smallest.UserKey[0]) == keys.TableRows {
				require.Equal(t, 6, level, "rows from %x to %x", f.Smallest.UserKey, f.Largest.UserKey)
				bytes += f.Size
			}
		}
	}
	require.Greater(t, bytes, uint64(len(tables)*rounds*rows*len(value)))
}
