package inspect

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// broker is what of a broker writes a data directory.
type broker struct {
	t      *testing.T
	fs     vfs.FS
	dir    *engine.Dir
	db     *pebble.DB
	cat    *catalog.Catalog
	log    *log.Store
	tables *table.DB
}

func start(t *testing.T, fs vfs.FS) *broker {
	t.Helper()
	b := &broker{t: t, fs: fs}
	var err error
	b.dir, err = engine.OpenDir(engine.Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	b.db, err = b.dir.OpenLogDB()
	require.NoError(t, err)
	tableDB, options, err := b.dir.OpenTableDB()
	require.NoError(t, err)
	b.cat, err = catalog.Open(b.db, time.Now, rand.Reader)
	require.NoError(t, err)
	epoch, err := b.cat.BeginEpoch()
	require.NoError(t, err)
	b.log, err = log.Open(log.Config{DB: b.db, LeaderEpoch: epoch})
	require.NoError(t, err)
	b.tables, err = table.Open(table.Config{DB: tableDB, Options: options, FS: fs, Dir: "/d/ingest"})
	require.NoError(t, err)
	return b
}

func (b *broker) stop() {
	b.t.Helper()
	require.NoError(b.t, b.tables.Close())
	require.NoError(b.t, b.log.Close())
	require.NoError(b.t, b.dir.Close())
}

// topic makes a key-framed topic of one partition.
func (b *broker) topic(name string) catalog.Topic {
	b.t.Helper()
	topic, err := b.cat.Create(catalog.Spec{Name: name, Partitions: 1, Configs: []catalog.Config{{Name: "cleanup.policy", Value: "compact"}}})
	require.NoError(b.t, err)
	return topic
}

// put appends n records in one batch and folds them. The first half of each row's value is its key, again and again.
func (b *broker) put(name string, n int) { b.putFrom(name, n, 0) }

// putFrom is put, and rows below the log start leave at the cut.
func (b *broker) putFrom(name string, n int, start int64) {
	b.t.Helper()
	topic, ok := b.cat.Get(name)
	require.True(b.t, ok)
	meta := topic.Partitions[0]
	p, err := b.log.OpenPartition(log.PartitionID(meta.Ordinal), meta)
	require.NoError(b.t, err)
	from := p.Bounds().LogEnd
	builder := batch.NewBuilder(batch.NewOptions())
	var changes []table.Change
	for i := range n {
		key := fmt.Appendf(nil, "%s-%06d", name, i)
		value := bytes.Repeat(key, 10)
		require.NoError(b.t, builder.Append(batch.Record{Offset: int64(i), Timestamp: 5, Key: key, Value: value}))
		d := table.Delta{Delta: delta.Delta{Op: delta.Put, Key: key, Value: value}, Offset: from + int64(i), Timestamp: 5}
		changes = append(changes, table.Change{Key: key, Deltas: []table.Delta{d}})
	}
	records, err := builder.Finish()
	require.NoError(b.t, err)
	appended, err := p.Append(records)
	require.NoError(b.t, err)
	require.NoError(b.t, appended.Wait(b.t.Context()))
	id := table.Identity{TopicID: topic.ID, Partition: 0, Incarnation: meta.Incarnation, Fold: fold.LastValue}
	t, err := b.tables.Table(meta.Ordinal, id)
	require.NoError(b.t, err)
	require.NoError(b.t, b.tables.Commit(context.Background(), []table.Fold{{
		Table: t, Changes: changes, End: p.Bounds().LogEnd, LeaderEpoch: p.EpochAt(p.Bounds().LogEnd - 1), Cut: true, Start: start,
	}}))
}

func check(t *testing.T, fs vfs.FS) *Report {
	t.Helper()
	before := contents(t, fs, "/d")
	d, err := Open(engine.Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	r, err := d.Check(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.True(t, before == contents(t, fs, "/d"), "something was changed")
	return r
}

func contents(t *testing.T, fs vfs.FS, dir string) string {
	t.Helper()
	var all strings.Builder
	names, err := fs.List(dir)
	require.NoError(t, err)
	slices.Sort(names)
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			all.WriteString(contents(t, fs, path))
			continue
		}
		fmt.Fprintf(&all, "%s\n%s\n", path, read(t, fs, path))
	}
	return all.String()
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

func write(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// A directory is as good after a restart, and after a crash, as it was before.
func TestHealthyDirectoryOfManyRuns(t *testing.T) {
	fs := vfs.NewCrashableMem()
	for run := range 3 {
		b := start(t, fs)
		if run == 0 {
			b.topic("a")
		}
		b.put("a", 50)
		if run == 2 {
			image := fs.CrashClone(vfs.CrashCloneCfg{})
			require.Empty(t, check(t, image).Problems)
		}
		b.stop()
		r := check(t, fs)
		require.Empty(t, r.Problems)
		require.EqualValues(t, 50*(run+1), r.Refolded)
		require.Positive(t, r.Files)
		require.Positive(t, r.Keys)
	}
}

// Rows that have left with the log start are no problem, also where the frame at which they left was thinned.
func TestExpiredRows(t *testing.T) {
	for _, thinned := range []bool{false, true} {
		fs := vfs.NewMem()
		b := start(t, fs)
		topic := b.topic("a")
		b.put("a", 100)
		b.putFrom("a", 30, 50) // 0 to 29 have come again, 30 to 49 leave
		b.putFrom("a", 10, 120)
		if thinned {
			meta := topic.Partitions[0]
			table, err := b.tables.Table(meta.Ordinal, table.Identity{TopicID: topic.ID, Incarnation: meta.Incarnation, Fold: fold.LastValue})
			require.NoError(t, err)
			require.Equal(t, 10+10, int(table.Digest().Count))
			require.NoError(t, table.Thin(t.Context(), 130))
		}
		b.stop()
		r := check(t, fs)
		require.Empty(t, r.Problems)
	}
}

// A flipped byte in any file is found and named, whoever reads it, and nothing else is affected.
func TestEveryDamagedBlockIsFound(t *testing.T) {
	fs := vfs.NewMem()
	b := start(t, fs)
	b.topic("a")
	for range 4 { // small blocks: for each damaged one Pebble looks for the flipped bit, which takes seconds for a large one
		b.put("a", 8)
	}
	require.NoError(t, b.db.Flush())
	b.stop()
	files := 0
	for _, dir := range []string{"/d/log", "/d/table"} {
		names, err := fs.List(dir)
		require.NoError(t, err)
		for _, name := range names {
			if !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob") {
				continue
			}
			path := fs.PathJoin(dir, name)
			files++
			for part := range 5 {
				damaged := vfs.NewMem()
				_, err := vfs.Clone(fs, damaged, "/d", "/d")
				require.NoError(t, err)
				data := read(t, fs, path)
				data[len(data)*(2*part+1)/10] ^= 0x5a
				write(t, damaged, path, data)
				problems := check(t, damaged).Problems
				require.NotEmpty(t, problems, "%s at %d of %d", path, len(data)*(2*part+1)/10, len(data))
				require.ErrorContains(t, problems[0], path+" is damaged: ")
				for _, p := range problems {
					require.NotContains(t, p.Error(), "carrier")
					require.NotContains(t, p.Error(), "\n")
				}
			}
		}
	}
	require.GreaterOrEqual(t, files, 3)
}

// What the end of the log took with it is shown by the tables, which are another database.
func TestLostEndOfTheLog(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := start(t, fs)
	b.topic("a")
	b.put("a", 50)
	b.topic("gone")
	b.put("gone", 5)
	require.NoError(t, b.cat.Delete("gone")) // its table stays, as a crash may leave it
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	b.put("a", 50)
	b.topic("b")
	b.put("b", 50)
	b.stop()
	require.Empty(t, check(t, fs).Problems)

	// The tables of now with the log of then.
	require.NoError(t, image.RemoveAll("/d/table"))
	_, err := vfs.Clone(fs, image, "/d/table", "/d/table")
	require.NoError(t, err)
	problems := check(t, image).Problems
	require.Len(t, problems, 2)
	require.ErrorIs(t, problems[0], errLost)
	require.ErrorContains(t, problems[0], "partition number 2")
	require.ErrorIs(t, problems[1], errLost)
	require.ErrorContains(t, problems[1], "a/0 at offset 100: the table is folded to here, but the log ends at 50")

	// The log has grown beyond the table since.
	b = start(t, image)
	meta, _ := b.cat.Get("a")
	p, err := b.log.OpenPartition(log.PartitionID(meta.Partitions[0].Ordinal), meta.Partitions[0])
	require.NoError(t, err)
	for range 100 {
		builder := batch.NewBuilder(batch.NewOptions())
		require.NoError(t, builder.Append(batch.Record{Key: []byte("k"), Value: []byte("v")}))
		record, err := builder.Finish()
		require.NoError(t, err)
		appended, err := p.Append(record)
		require.NoError(t, err)
		require.NoError(t, appended.Wait(t.Context()))
	}
	b.stop()
	problems = check(t, image).Problems
	require.Greater(t, len(problems), 1)
	require.ErrorIs(t, problems[1], errLost)
	require.ErrorContains(t, problems[1], "a/0 at offset 100: the table is folded to here in leader epoch 0, but there the log has epoch 1")
}

// twoBlobs is a directory whose log has two blob files; it returns their paths.
func twoBlobs(t *testing.T) (fs *vfs.MemFS, blobs []string) {
	t.Helper()
	fs = vfs.NewMem()
	b := start(t, fs)
	b.topic("a")
	for range 2 {
		b.put("a", 40)
		require.NoError(t, b.db.Flush())
	}
	b.stop()
	return fs, filesOf(t, fs, "/d/log", ".blob")
}

func filesOf(t *testing.T, fs vfs.FS, dir, suffix string) (paths []string) {
	t.Helper()
	names, err := fs.List(dir)
	require.NoError(t, err)
	slices.Sort(names)
	for _, name := range names {
		if strings.HasSuffix(name, suffix) {
			paths = append(paths, fs.PathJoin(dir, name))
		}
	}
	return paths
}

// changed is a copy in which change was made to one file; nil removes it.
func changed(t *testing.T, fs vfs.FS, path string, change func([]byte) []byte) *vfs.MemFS {
	t.Helper()
	image := vfs.NewMem()
	_, err := vfs.Clone(fs, image, "/d", "/d")
	require.NoError(t, err)
	if change == nil {
		require.NoError(t, image.Remove(path))
	} else {
		write(t, image, path, change(read(t, fs, path)))
	}
	return image
}

// Pebble panics where it needs a blob file that it cannot open; the check names the file and goes on, and whoever needs it in a
// broker gets an error.
func TestBlobFileThatCannotBeOpened(t *testing.T) {
	fs, blobs := twoBlobs(t)
	require.GreaterOrEqual(t, len(blobs), 2)
	path := blobs[0]
	cut := func(n func(size int) int) func([]byte) []byte {
		return func(b []byte) []byte { return b[:n(len(b))] }
	}
	for name, change := range map[string]func([]byte) []byte{
		"empty":    cut(func(int) int { return 0 }),
		"one byte": cut(func(int) int { return 1 }),
		"half":     cut(func(size int) int { return size / 2 }),
		"last":     cut(func(size int) int { return size - 1 }),
		"missing":  nil,
	} {
		image := changed(t, fs, path, change)
		r := check(t, image)
		require.NotEmpty(t, r.Problems, name)
		require.ErrorContains(t, r.Problems[0], path+" is damaged: it ", name)
		require.Positive(t, r.Keys)
		for _, p := range r.Problems {
			require.NotContains(t, p.Error(), "metadata type", name)
		}
		dir, err := engine.OpenDir(engine.Config{Dir: "/d", FS: image})
		require.NoError(t, err)
		db, err := dir.OpenLogDB()
		require.NoError(t, err)
		named := path
		if change == nil {
			named = damage.SomeBlob // Pebble does not say which
		}
		require.ErrorContains(t, readValues(t, db), named+" is damaged: ", name)
		require.NoError(t, dir.Close())
	}
	image := changed(t, fs, path, func(b []byte) []byte { b[len(b)-20] ^= 0x5a; return b }) // in the footer
	require.ErrorContains(t, check(t, image).Problems[0], path+" is damaged: ")
}

// readValues reads a database as a broker does, up to the first error.
func readValues(t *testing.T, db *pebble.DB) (err error) {
	it, err := db.NewIter(nil)
	require.NoError(t, err)
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		_, err = damage.Value(it)
	}
	_ = it.Close() // what it says was seen
	return err
}

// A database that does not open is a problem, and the other one is checked.
func TestSSTableOfAnotherSize(t *testing.T) {
	fs, _ := twoBlobs(t)
	for _, dir := range []string{"/d/log", "/d/table"} {
		path := filesOf(t, fs, dir, ".sst")[0]
		for name, change := range map[string]func([]byte) []byte{"": func(b []byte) []byte { return b[:len(b)/2] }, "missing": nil} {
			image := changed(t, fs, path, change)
			d, err := Open(engine.Config{Dir: "/d", FS: image})
			require.NoError(t, err)
			_, err = d.Partitions()
			require.ErrorContains(t, err, path+" is damaged: it ")
			require.NoError(t, d.Close())
			r := check(t, image)
			require.Len(t, r.Problems, 1, "%s", r.Problems)
			require.ErrorContains(t, r.Problems[0], path+" is damaged: it ", name)
			require.ErrorContains(t, r.Problems[0], ": no data was changed")
			require.Positive(t, r.Files)
			require.Equal(t, dir == "/d/table", r.Records > 0)
		}
	}
}

// Damage to the last record of the WAL is what a torn write looks like: no problem, but not passed over.
func TestTornRecordIsANotice(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := start(t, fs)
	b.topic("a")
	b.put("a", 50)
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	b.stop()
	require.Empty(t, check(t, fs).Notices)
	require.Empty(t, check(t, image).Notices)
	wals := filesOf(t, image, "/d/log", ".log")
	path := wals[len(wals)-1]
	r := check(t, changed(t, image, path, func(b []byte) []byte { b[len(bytes.TrimRight(b, "\x00"))-3] ^= 0x5a; return b }))
	require.Len(t, r.Notices, 1)
	require.Regexp(t, `^`+path+`: \d+ bytes from byte \d+ on are no whole record: `, r.Notices[0])
}
