package engine

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

// newTables writes an sstable of each range of keys, of one size where the ranges have one length.
func newTables(t *testing.T, fs vfs.FS, db *pebble.DB, opts *pebble.Options, ranges ...[2]int) (paths []string) {
	t.Helper()
	for i, r := range ranges {
		path := fmt.Sprintf("d/new%d.sst", i)
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), opts.MakeWriterOptions(0, db.TableFormat()))
		for k := r[0]; k < r[1]; k++ {
			require.NoError(t, w.Set(fmt.Appendf(nil, "%06d", k), fmt.Appendf(nil, "%06d", k)))
		}
		require.NoError(t, w.Close())
		paths = append(paths, path)
	}
	return paths
}

// sstables are the files of a database, and what they have.
func sstables(t *testing.T, fs vfs.FS, dir string) (paths []string, files map[string]string) {
	t.Helper()
	files = contents(t, fs, dir)
	for path := range files {
		if strings.HasSuffix(path, ".sst") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths, files
}

// An sstable that was overwritten with another of the directory is damaged, wherever it is read, and not when the database is opened.
func TestAnotherSSTableInItsPlace(t *testing.T) {
	for name, isLog := range map[string]bool{"table": false, "log": true} {
		t.Run(name, func(t *testing.T) {
			clean := vfs.NewMem()
			d, err := OpenDir(Config{Dir: "d", FS: clean})
			require.NoError(t, err)
			db := fillTables(t, clean, d, isLog)
			require.NotNil(t, db)
			require.NoError(t, d.Close())
			paths, files := sstables(t, clean, "d/"+name)
			require.GreaterOrEqual(t, len(paths), 3)
			for _, to := range paths {
				for _, from := range paths {
					if len(files[from]) == len(files[to]) {
						readAnother(t, clean, isLog, from, to, files[from])
					}
				}
			}
		})
	}
}

// fillTables makes sstables of one size, in the log with values in blob files.
func fillTables(t *testing.T, fs vfs.FS, d *Dir, isLog bool) *pebble.DB {
	t.Helper()
	if !isLog {
		db, opts, err := d.OpenTableDB()
		require.NoError(t, err)
		require.NoError(t, db.Ingest(context.Background(), newTables(t, fs, db, opts, [2]int{0, 3000}, [2]int{3000, 6000}, [2]int{6000, 9000})))
		return db
	}
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	for i := range 3 {
		for k := range 100 {
			require.NoError(t, db.Set(fmt.Appendf(nil, "%d-%04d", i, k), bytes.Repeat([]byte{byte(k)}, 1000), pebble.NoSync))
		}
		require.NoError(t, db.Flush())
	}
	return db
}

// readAnother opens a copy in which a file has what another has.
func readAnother(t *testing.T, clean *vfs.MemFS, isLog bool, from, to, text string) {
	t.Helper()
	fs := vfs.NewMem()
	_, err := vfs.Clone(clean, fs, "d", "d")
	require.NoError(t, err)
	put(t, fs, to, text)
	d, err := OpenDir(Config{Dir: "d", FS: fs})
	require.NoError(t, err)
	var db *pebble.DB
	if isLog {
		db, err = d.OpenLogDB()
	} else {
		db, _, err = d.OpenTableDB()
	}
	require.NoError(t, err)
	it, err := db.NewIter(nil)
	require.NoError(t, err)
	rows := 0
	for ok := it.First(); ok; ok = it.Next() {
		_, err := damage.Value(it)
		require.NoError(t, err)
		rows++
	}
	err = damage.Join(it.Error(), it.Close())
	var checked error
	if !isLog {
		checked = d.CheckTableFiles(context.Background())
	}
	if from == to {
		require.NoError(t, err)
		require.NoError(t, checked)
		require.NoError(t, d.Close())
		return
	}
	want := to + " is damaged: it is another file: its keys are not those that were written"
	require.EqualError(t, err, want, "%d rows, %s as %s", rows, from, to)
	require.True(t, pebble.IsCorruptionError(err))
	require.Positive(t, d.Metrics().Table.Corruptions+d.Metrics().Log.Corruptions)
	if !isLog {
		require.EqualError(t, checked, want)
		require.True(t, pebble.IsCorruptionError(checked))
	}
	require.NoError(t, d.Close())
}

// What a database has after whatever was done to it is what was meant: files of which ranges were excised, or that hold range deletions, too.
func TestNoSSTableIsTakenForAnother(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewMem()
	key := func(k int) []byte { return fmt.Appendf(nil, "%06d", k) }
	virtual := 0
	for range 12 {
		d, err := OpenDir(Config{Dir: "d", FS: fs, MemTableBytes: 64 << 10})
		require.NoError(t, err)
		logDB, err := d.OpenLogDB()
		require.NoError(t, err)
		tabDB, opts, err := d.OpenTableDB()
		require.NoError(t, err)
		for range 60 {
			from := rng.IntN(20_000)
			to := from + 1 + rng.IntN(3000)
			switch rng.IntN(6) {
			case 0, 1:
				for k := from; k < to; k += 100 {
					require.NoError(t, logDB.Set(key(k), bytes.Repeat([]byte{1}, 100+rng.IntN(1000)), pebble.NoSync))
				}
			case 2:
				require.NoError(t, logDB.DeleteRange(key(from), key(to), pebble.NoSync))
				require.NoError(t, logDB.Flush())
			case 3:
				require.NoError(t, tabDB.Ingest(context.Background(), newTables(t, fs, tabDB, opts, [2]int{from, to})))
			case 4:
				_, err := tabDB.IngestAndExcise(context.Background(), newTables(t, fs, tabDB, opts, [2]int{from, from + (to-from)/2}),
					nil, nil, pebble.KeyRange{Start: key(from), End: key(to)})
				if to-from > 1 {
					require.NoError(t, err)
				}
			default:
				require.NoError(t, tabDB.Compact(context.Background(), key(from), key(to), false))
				require.NoError(t, logDB.Compact(context.Background(), key(from), key(to), false))
			}
		}
		levels, err := tabDB.SSTables()
		require.NoError(t, err)
		for _, level := range levels {
			for _, info := range level {
				if info.Virtual {
					virtual++
				}
			}
		}
		require.NoError(t, d.CheckTableFiles(context.Background()))
		require.NoError(t, d.Close())

		d, err = OpenDir(Config{Dir: "d", FS: fs})
		require.NoError(t, err)
		logDB, err = d.OpenLogDB()
		require.NoError(t, err)
		tabDB, _, err = d.OpenTableDB()
		require.NoError(t, err)
		require.NoError(t, d.CheckTableFiles(context.Background()))
		for _, db := range []*pebble.DB{logDB, tabDB} {
			it, err := db.NewIter(nil)
			require.NoError(t, err)
			for ok := it.First(); ok; ok = it.Next() {
			}
			require.NoError(t, it.Error())
			require.NoError(t, it.Close())
		}
		require.Zero(t, d.Metrics().Table.Corruptions+d.Metrics().Log.Corruptions)
		require.NoError(t, d.Close())
	}
	require.Positive(t, virtual)
}
