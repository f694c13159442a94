package table_test

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// A commit leaves no block in the cache that was not read from its file: damage to the file that comes right behind it is found.
func TestVerifyReadsTheFiles(t *testing.T) {
	var clock int64
	fs := vfs.NewMem()
	s := &store{fs: fs, clock: &clock, max: 4096, opts: options(fs, true)}
	s.opts.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {} // by default it ends the process
	s.open(t)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var deltas []oracleDelta
	for i := range int64(200) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", i), offset: i, op: oraclePut, value: fmt.Sprintf("%03d-%01000d", i, 0)})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: 200, Cut: true}}))
	damage(t, fs, []byte("100-0000"))
	rows := a.ScrubRows()
	p, err := rows.Next(background, 50)
	require.NoError(t, err, "the damaged row comes later")
	require.Equal(t, table.Piece{Rows: 50, Bytes: 50 * (4 + 1004)}, p)
	_, err = rows.Next(background, 100)
	require.ErrorIs(t, err, table.ErrCorrupt)
	_, err = a.Verify(background, 200)
	require.ErrorIs(t, err, table.ErrCorrupt)
	require.ErrorContains(t, err, "ordinal 1 at 200")
	p, err = a.ScrubFrame().Next(background, 1000)
	require.ErrorIs(t, err, table.ErrCorrupt)
	require.ErrorContains(t, err, "ordinal 1 at 200: behind the rows below offset ")
	require.False(t, p.Done)
}

// damage changes a byte of what is stored in an sstable.
func damage(t *testing.T, fs vfs.FS, text []byte) {
	t.Helper()
	names, err := fs.List("db")
	require.NoError(t, err)
	for _, name := range names {
		if path.Ext(name) != ".sst" {
			continue
		}
		f, err := fs.OpenReadWrite(path.Join("db", name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		info, err := f.Stat()
		require.NoError(t, err)
		b := make([]byte, info.Size())
		_, err = io.ReadFull(f, b)
		require.NoError(t, err)
		if i := bytes.Index(b, text); i >= 0 {
			_, err = f.WriteAt([]byte("X"), int64(i))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return
		}
		require.NoError(t, f.Close())
	}
	require.Fail(t, "the text is in no sstable")
}
