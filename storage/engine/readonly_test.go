package engine

import (
	"io"
	"maps"
	"os"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// contents is every file below dir.
func contents(t *testing.T, fs vfs.FS, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			maps.Copy(files, contents(t, fs, path))
			continue
		}
		f, err := fs.Open(path)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		files[path] = string(b)
	}
	return files
}

// Reading changes no byte, and works where nothing can be written.
func TestOpenReadOnly(t *testing.T) {
	mem := vfs.NewMem()
	d, err := OpenDir(Config{Dir: "/d", FS: mem})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	require.NoError(t, db.Set([]byte("a"), []byte("b"), pebble.Sync)) // in the WAL only
	_, _, err = d.OpenTableDB()
	require.NoError(t, err)
	_, err = OpenReadOnly(Config{Dir: "/d", FS: mem})
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, d.Close())

	before := contents(t, mem, "/d")
	readOnly := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return &os.PathError{Op: "open", Err: syscall.EROFS}
		}
		return nil
	}))
	for name, fs := range map[string]vfs.FS{"writable": mem, "read only": readOnly} {
		d, err := OpenReadOnly(Config{Dir: "/d", FS: fs})
		require.NoError(t, err, name)
		db, err := d.OpenLogDB()
		require.NoError(t, err, name)
		value, closer, err := db.Get([]byte("a"))
		require.NoError(t, err, name)
		require.Equal(t, "b", string(value))
		require.NoError(t, closer.Close())
		require.ErrorIs(t, db.Set([]byte("a"), nil, pebble.Sync), pebble.ErrReadOnly)
		_, _, err = d.OpenTableDB()
		require.NoError(t, err, name)
		require.NoError(t, d.Close())
		require.Equal(t, before, contents(t, mem, "/d"), name)
	}
}

// What a broker has not made is not opened, and stays as it was.
func TestOpenReadOnlyMakesNothing(t *testing.T) {
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("/empty", 0o755))
	d, err := OpenDir(Config{Dir: "/half", FS: fs})
	require.NoError(t, err)
	_, _, err = d.OpenTableDB()
	require.NoError(t, err)
	require.NoError(t, d.Close())
	half, err := OpenDir(Config{Dir: "/half-replica", Kind: Replica, FS: fs})
	require.NoError(t, err)
	require.NoError(t, half.Close())
	for kind, dirs := range map[Kind]map[string]string{
		Broker:  {"/empty": "no VERSION", "/none": "no such directory", "/half": "no log.created"},
		Replica: {"/empty": "no VERSION", "/none": "no such directory", "/half-replica": "no table.created"},
	} {
		for dir, says := range dirs {
			_, err := OpenReadOnly(Config{Dir: dir, Kind: kind, FS: fs})
			require.ErrorIs(t, err, ErrNotADataDir, dir)
			require.ErrorContains(t, err, says, dir)
		}
	}
	_, err = fs.Stat("/none")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = OpenReadOnly(Config{Dir: "/half", Kind: Replica, FS: fs})
	require.ErrorIs(t, err, ErrKind)
	require.ErrorContains(t, err, "a broker's")
	d, err = OpenDir(Config{Dir: "/replica", Kind: Replica, FS: fs})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, err = OpenReadOnly(Config{Dir: "/replica", FS: fs})
	require.ErrorIs(t, err, ErrKind)
	require.ErrorContains(t, err, "a replica's")
	_, err = OpenReadOnly(Config{Dir: "/replica", Kind: Replica, FS: fs})
	require.ErrorContains(t, err, "no table.created")
	names, err := fs.List("/empty")
	require.NoError(t, err)
	require.Empty(t, names)
	_, err = fs.Stat("/half/log")
	require.Error(t, err)
}
