package blobfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// database is one with a value of each size, by its number, in blob files.
func database(t testing.TB, fs vfs.FS, sizes []int) (*pebble.DB, [][]byte) {
	opts := &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation}
	for i := range opts.Levels {
		opts.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		opts.Levels[i].BlockSize = 64 << 10
	}
	opts.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 512, MaxBlobReferenceDepth: 1000}
	}
	db, err := pebble.Open("/db", opts)
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 2))
	var values [][]byte
	for i, n := range sizes {
		v := make([]byte, n)
		for j := 0; j+8 <= n; j += 8 {
			binary.LittleEndian.PutUint64(v[j:], rng.Uint64())
		}
		values = append(values, v)
		require.NoError(t, db.Set(fmt.Appendf(nil, "%06d", i), v, nil))
	}
	require.NoError(t, db.Flush())
	return db, values
}

// Values are found where Pebble put them: many in a block, one in a block, a block larger than others.
func TestValuesAreFoundAsPebbleHasThem(t *testing.T) {
	fs := vfs.NewMem()
	var sizes []int
	for i := range 400 {
		sizes = append(sizes, []int{100, 512, 700 + i, 3000, 30_000, 70_000 + i, 65_535, 300_000}[i%8])
	}
	db, values := database(t, fs, sizes)
	defer func() { require.NoError(t, db.Close()) }()
	it, err := db.NewIter(nil)
	require.NoError(t, err)
	defer it.Close()
	files, found, i := map[uint64]*File{}, 0, 0
	for ok := it.First(); ok; ok = it.Next() {
		v := it.LazyValue()
		require.Equal(t, len(values[i]), v.Len())
		if at, ok := LocationOf(v); ok {
			if files[at.File] == nil {
				files[at.File], err = Open(fs, "/db/"+Name(at.File))
				require.NoError(t, err)
			}
			e, ok := files[at.File].Extent(at.Block)
			require.True(t, ok)
			b := make([]byte, e.Length)
			require.NoError(t, files[at.File].Read(e, b))
			from, to, ok := Find(b, at.Value)
			require.True(t, ok)
			require.True(t, bytes.Equal(values[i], b[from:to]), "value %d", i)
			found++
		}
		i++
	}
	require.Equal(t, 350, found, "all but those below 512 bytes")
	for _, f := range files {
		_, ok := f.Extent(1 << 30)
		require.False(t, ok)
		require.NoError(t, f.Close())
	}
}

// A file that Pebble has written anew is found under another name, and not taken for the first one if somebody asks for that.
func TestRewrittenFileIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	opts := &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, DisableAutomaticCompactions: false}
	opts.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{Enabled: true, MinimumSize: 512, MaxBlobReferenceDepth: 1000, TargetGarbageRatio: 0.1}
	}
	rewritten := make(chan uint64, 10)
	opts.EventListener = &pebble.EventListener{BlobFileRewriteEnd: func(i pebble.BlobFileRewriteInfo) {
		if i.Done && i.Err == nil {
			rewritten <- uint64(i.Output.DiskFileNum)
		}
	}}
	db, err := pebble.Open("/db", opts)
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	for i := range 100 {
		require.NoError(t, db.Set(fmt.Appendf(nil, "%06d", i), bytes.Repeat([]byte{byte(i)}, 10_000), nil))
	}
	require.NoError(t, db.Flush())
	require.NoError(t, db.DeleteRange([]byte("000010"), []byte("000090"), nil))
	require.NoError(t, db.Flush())
	require.NoError(t, db.Compact(t.Context(), []byte("0"), []byte("1"), false))
	_, err = Open(fs, "/db/"+Name(<-rewritten))
	require.ErrorIs(t, err, ErrRewritten)
}

// A block of whatever bytes has its values inside of it, or none.
func FuzzFind(f *testing.F) {
	b := blobBytes(f)
	f.Add(b[:2*len(b)/3], uint32(1))
	f.Add([]byte{1, 1, 0, 1, 0, 0, 0, 3, 12, 0, 0, 0, 4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 2, 3, 4}, uint32(0))
	f.Fuzz(func(t *testing.T, b []byte, value uint32) {
		if from, to, ok := Find(b, value); ok {
			require.LessOrEqual(t, 0, from)
			require.LessOrEqual(t, from, to)
			require.LessOrEqual(t, to, len(b))
		}
	})
}

// Whatever a file has become, opening and reading it is an error, or gives bytes: which ones, its reader judges.
func FuzzDamagedFile(f *testing.F) {
	b := blobBytes(f)
	for _, back := range []int{1, 10, 20, 40, 60, 80} {
		f.Add(b, uint32(len(b)-back), byte(1))
	}
	f.Add(b, uint32(1), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint32, flip byte) {
		if len(b) == 0 {
			return
		}
		b = bytes.Clone(b)
		b[int(at)%len(b)] ^= flip
		fs := vfs.NewMem()
		w, err := fs.Create("f", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = w.Write(b)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		file, err := Open(fs, "f")
		if err != nil {
			return
		}
		defer file.Close()
		for id := range uint32(100) {
			e, ok := file.Extent(id)
			if !ok {
				return
			}
			block := make([]byte, min(e.Length, 1<<20))
			if file.Read(e, block) == nil {
				Find(block, 0)
			}
		}
	})
}

// blobBytes are those of a small blob file.
func blobBytes(f *testing.F) []byte {
	fs := vfs.NewMem()
	db, _ := database(f, fs, []int{600, 700, 800})
	require.NoError(f, db.Close())
	names, err := fs.List("/db")
	require.NoError(f, err)
	for _, name := range names {
		if !strings.HasSuffix(name, ".blob") {
			continue
		}
		file, err := fs.Open("/db/" + name)
		require.NoError(f, err)
		b, err := io.ReadAll(file)
		require.NoError(f, err)
		require.NoError(f, file.Close())
		return b
	}
	require.Fail(f, "no blob file")
	return nil
}
