package engine

import (
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// watchedFile notes what the system is asked to read ahead.
type watchedFile struct {
	vfs.File
	asked [][2]int64 // half-open
}

func (f *watchedFile) Prefetch(offset, length int64) error {
	f.asked = append(f.asked, [2]int64{offset, offset + length})
	return nil
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) {
	if f.File == nil {
		return len(p), nil
	}
	return f.File.ReadAt(p, off)
}

// Readers of several parts of a blob file, who take turns, find what they read next already asked for, and nothing is asked for twice.
func TestReadAheadOfReadersThatTakeTurns(t *testing.T) {
	const (
		readers = 8
		apart   = int64(64 << 20)
		block   = int64(64 << 10)
	)
	file := &watchedFile{}
	f := &blobReader{File: file}
	p := make([]byte, block)
	covered := func(off int64) bool {
		for _, a := range file.asked {
			if a[0] <= off && off+block <= a[1] {
				return true
			}
		}
		return false
	}
	for i := range int64(200) {
		for r := range int64(readers) {
			off := block + r*apart + i*block
			if i > 1 {
				require.True(t, covered(off), "read %d of reader %d", i, r)
			}
			_, err := f.ReadAt(p, off)
			require.NoError(t, err)
		}
	}
	bytes := int64(0)
	for i, a := range file.asked {
		bytes += a[1] - a[0]
		for _, b := range file.asked[:i] {
			require.True(t, a[1] <= b[0] || b[1] <= a[0], "%v and %v", a, b)
		}
	}
	require.LessOrEqual(t, bytes, readers*(200*block+2*aheadBytes), "no more than the window is ahead of a reader")
}

// Who reads here and there has nothing read for nothing.
func TestNoReadAheadOfScatteredReads(t *testing.T) {
	file := &watchedFile{}
	f := &blobReader{File: file}
	rnd := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 4096)
	for range 1000 {
		_, err := f.ReadAt(p, rnd.Int64N(1<<40))
		require.NoError(t, err)
	}
	require.Empty(t, file.asked)
}

// watchedFS opens watchedFiles.
type watchedFS struct {
	vfs.FS
	file *watchedFile
}

func (fs *watchedFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	fs.file = &watchedFile{File: f}
	return fs.file, err
}

// The blob files of the log are read ahead.
func TestBlobFilesAreReadAhead(t *testing.T) {
	base := &watchedFS{FS: written(t)}
	fs := newBlobFS(base, slog.New(slog.DiscardHandler), nil, newFlushPace(1<<20))
	met := 0
	for path := range contents(t, base.FS, "/d/log") {
		if !strings.HasSuffix(path, ".blob") {
			continue
		}
		met++
		f, err := fs.Open(path)
		require.NoError(t, err)
		var p [8]byte
		for off := range int64(4) {
			n, err := f.ReadAt(p[:], 8*(1+off))
			require.NoError(t, err)
			require.Equal(t, len(p), n)
		}
		require.NotEmpty(t, base.file.asked)
		require.NoError(t, f.Close())
	}
	require.Positive(t, met)
}
