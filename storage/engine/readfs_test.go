package engine

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

// However it shows that a file is not what was written, from the beginning or behind what has been read of it already, who reads a key there is told so,
// with the file's name and in one line; nobody takes it for the end of what he reads. An error of the process says nothing of a file.
func TestAFileThatCannotBeRead(t *testing.T) {
	onOpen, onRead := errorfs.OpOpen, errorfs.OpFileReadAt
	for _, c := range []struct {
		what  string
		op    errorfs.OpKind
		err   error
		why   string // "": it is no damage
		later bool   // after the first key
	}{
		{"gone", onOpen, &os.PathError{Op: "open", Path: "f", Err: syscall.ENOENT}, "it is missing", false},
		{"opened with an input/output error", onOpen, &os.PathError{Op: "open", Path: "f", Err: syscall.EIO}, "the disk does not give it: input/output error", false},
		{"cut short", onRead, io.EOF, "it is cut short", false},
		{"cut short behind its first block", onRead, io.EOF, "it is cut short", true},
		{"cut short within a block", onRead, io.ErrUnexpectedEOF, "it is cut short", true},
		{"read with an input/output error", onRead, &os.PathError{Op: "read", Path: "f", Err: syscall.EIO}, "the disk does not give it: input/output error", true},
		{"too many files are open", onOpen, &os.PathError{Op: "open", Path: "f", Err: syscall.EMFILE}, "", false},
		{"interrupted", onRead, errors.ErrUnsupported, "", true},
	} {
		t.Run(c.what, func(t *testing.T) {
			mem, path, _ := withTable(t)
			var failing atomic.Bool
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if failing.Load() && op.Kind == c.op && strings.HasSuffix(op.Path, ".sst") {
					return c.err
				}
				return nil
			}))
			d, err := OpenDir(Config{Dir: "d", Kind: Replica, FS: fs})
			require.NoError(t, err)
			failing.Store(!c.later) // before the database is open: it looks at its files in the background, and what it has read is not read again
			db, _, err := d.OpenTableDB()
			require.NoError(t, err)
			it, err := db.NewIter(nil)
			require.NoError(t, err)
			first := it.First()
			require.Equal(t, c.later, first, "%v", it.Error())
			failing.Store(true)
			if first {
				require.False(t, it.Last())
			}
			err = damage.Join(it.Error(), it.Close())
			require.Error(t, err)
			var damaged *damage.Error
			if c.why == "" {
				require.False(t, errors.As(err, &damaged), "%v", err)
				require.NoError(t, d.Close())
				return
			}
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, path+" is damaged: "+c.why, err.Error())
			require.Equal(t, err, damage.Of(err))
			require.True(t, pebble.IsCorruptionError(err))
			require.NotErrorIs(t, err, io.EOF)
			require.NotErrorIs(t, err, io.ErrUnexpectedEOF)
			require.NotErrorIs(t, err, os.ErrNotExist)
			require.Positive(t, d.Metrics().Table.Corruptions)
			require.NoError(t, d.Close())
		})
	}
}

// A blob file that is cut short behind what was read of it is named too.
func TestABlobFileThatIsCutShort(t *testing.T) {
	var failing atomic.Bool
	fs := errorfs.Wrap(written(t), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".blob") && op.Offset == 0 {
			return io.EOF
		}
		return nil
	}))
	d, err := OpenReadOnly(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	it, err := db.NewIter(nil)
	require.NoError(t, err)
	failing.Store(true)
	met := 0
	for ok := it.First(); ok; ok = it.Next() {
		if _, err := damage.Value(it); err != nil {
			err = damage.Of(err)
			var damaged *damage.Error
			require.ErrorAs(t, err, &damaged)
			require.Regexp(t, `/d/log/\d+\.blob is damaged: it is cut short$`, err.Error())
			require.NotErrorIs(t, err, io.EOF)
			met++
		}
	}
	require.Positive(t, met)
	require.NotContains(t, damage.Join(it.Error(), it.Close()).Error(), "carrier")
	require.NoError(t, d.Close())
}
