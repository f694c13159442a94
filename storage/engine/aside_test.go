package engine

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

// withTable has a table database of one sstable, in level 6, and returns its path and size.
func withTable(t *testing.T) (fs *vfs.MemFS, path string, size int64) {
	t.Helper()
	fs = vfs.NewMem()
	d, err := OpenDir(Config{Dir: "d", Kind: Replica, FS: fs})
	require.NoError(t, err)
	db, opts, err := d.OpenTableDB()
	require.NoError(t, err)
	f, err := fs.Create("d/new.sst", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), opts.MakeWriterOptions(0, db.TableFormat()))
	for i := range 20_000 {
		require.NoError(t, w.Set(fmt.Appendf(nil, "%06d", i), []byte("value")))
	}
	require.NoError(t, w.Close())
	require.NoError(t, db.Ingest(context.Background(), []string{"d/new.sst"}))
	require.NoError(t, d.CheckTableFiles(context.Background()))
	require.NoError(t, d.Close())
	names, err := fs.List("d/table")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			path = "d/table/" + name
		}
	}
	info, err := fs.Stat(path)
	require.NoError(t, err)
	return fs, path, info.Size()
}

// All but keys and values is read of each file: what is damaged there is found, and damaged rows are not.
func TestCheckTableFiles(t *testing.T) {
	clean, path, size := withTable(t)
	readers := map[string]bool{}
	places := []int64{100, size / 3, size / 2} // rows
	for at := size - 30_000; at < size; at += 997 {
		places = append(places, at)
	}
	for at := size - 2000; at < size; at += 83 {
		places = append(places, at)
	}
	for _, at := range places {
		fs := vfs.NewMem()
		_, err := vfs.Clone(clean, fs, "d", "d")
		require.NoError(t, err)
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 4}, at)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		d, err := OpenDir(Config{Dir: "d", Kind: Replica, FS: fs})
		require.NoError(t, err)
		db, _, err := d.OpenTableDB()
		require.NoError(t, err)
		it, err := db.NewIter(nil)
		require.NoError(t, err)
		n := 0
		for ok := it.First(); ok; ok = it.Next() {
			n++
		}
		scanned := it.Close() == nil && n == 20_000
		got := true
		for _, key := range []string{"000000", "010000", "019999"} {
			_, c, err := db.Get([]byte(key))
			if got = got && err == nil; err == nil {
				require.NoError(t, c.Close())
			}
		}
		err = d.CheckTableFiles(context.Background())
		switch {
		case err != nil:
			var damaged *damage.Error
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, path, damaged.Path)
			readers["found"] = true
		case !scanned:
			require.Less(t, at, size*9/10, "in a block of rows")
			readers["rows"] = true
		default:
			require.True(t, got, "at %d of %d", at, size)
		}
		require.NoError(t, d.Close())
	}
	require.Equal(t, map[string]bool{"found": true, "rows": true}, readers)
}

// What is set aside can be read; the next takes its place, but not a database that is not there.
func TestSetTableAside(t *testing.T) {
	fs, path, _ := withTable(t)
	was := contents(t, fs, "d/table")
	d, err := OpenDir(Config{Dir: "d", Kind: Replica, FS: fs})
	require.NoError(t, err)
	_, _, err = d.OpenTableDB()
	require.NoError(t, err)
	aside, err := d.SetTableAside()
	require.NoError(t, err)
	require.Equal(t, "d/table.damaged", aside)
	sst := "d/table.damaged/" + fs.PathBase(path)
	require.Equal(t, was[path], contents(t, fs, aside)[sst])
	old, _, err := d.OpenAside()
	require.NoError(t, err)
	_, c, err := old.Get([]byte("000007"))
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, old.Close())

	for range 2 { // an empty database, and none
		_, _, err = d.OpenTableDB()
		require.NoError(t, err)
		_, _, err = d.tabDB.Get([]byte("000007"))
		require.ErrorIs(t, err, pebble.ErrNotFound)
		aside, err = d.SetTableAside()
		require.NoError(t, err)
		require.Empty(t, aside)
		require.Contains(t, contents(t, fs, "d/table.damaged"), sst)
	}
	require.NoError(t, d.Close())
}

// A table database of which nothing is left is damaged, whoever opens it; where it was being set aside, also without the file that says that it was there.
func TestMissingTableIsDamage(t *testing.T) {
	fs, _, _ := withTable(t)
	require.NoError(t, fs.Rename("d/table", "d/table.damaged"))
	for name, open := range map[string]func(Config) (*Dir, error){"to read": OpenReadOnly, "to write": OpenDir} {
		d, err := open(Config{Dir: "d", Kind: Replica, FS: fs})
		require.NoError(t, err, name)
		_, _, err = d.OpenTableDB()
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged, name)
		require.NoError(t, d.Close(), name)
	}
	require.NoError(t, fs.Remove("d/table.created"))
	d, err := OpenReadOnly(Config{Dir: "d", Kind: Replica, FS: fs})
	require.NoError(t, err)
	_, _, err = d.OpenTableDB()
	var damaged *damage.Error
	require.ErrorAs(t, err, &damaged)
	require.NoError(t, d.Close())
}
