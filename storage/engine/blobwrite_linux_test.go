package engine

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func isDirect(t *testing.T, f vfs.File) bool {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	require.NoError(t, err)
	return flags&unix.O_DIRECT != 0
}

// openedFS is the disk, with what is written to a file given to write.
type openedFS struct {
	vfs.FS
	write func(f vfs.File, p []byte) (int, error)
}

type openedFile struct {
	vfs.File
	fs *openedFS
}

func (fs *openedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	return openedFile{f, fs}, err
}

func (f openedFile) Write(p []byte) (int, error) { return f.fs.write(f.File, p) }

// What is long enough goes past the page cache, but for its end.
func TestBlobFilesAreWrittenPastThePageCache(t *testing.T) {
	dir := t.TempDir()
	possible := false
	if fd, err := unix.Open(filepath.Join(dir, "probe"), unix.O_CREAT|unix.O_WRONLY|unix.O_DIRECT, 0o600); err == nil {
		possible = true
		require.NoError(t, unix.Close(fd))
	}
	direct, cached := 0, 0
	base := &openedFS{FS: vfs.Default, write: func(f vfs.File, p []byte) (int, error) {
		if isDirect(t, f) {
			direct += len(p)
		} else {
			cached += len(p)
		}
		return f.Write(p)
	}}
	f, err := newBlobFS(base, slog.New(slog.DiscardHandler), nil, newFlushPace(1<<20)).Create(filepath.Join(dir, "1.blob"), vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 2*pieceBytes+pieceAlign+1))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	if possible {
		require.Equal(t, 2*pieceBytes+pieceAlign, direct)
		require.Equal(t, 1, cached)
	} else {
		require.Zero(t, direct)
	}
}

// A file system that says it takes direct writes, and does not, gets its blob files all the same, and the log says so once.
func TestBlobFilesWithoutDirectWrites(t *testing.T) {
	refused := 0
	base := &openedFS{FS: vfs.Default, write: func(f vfs.File, p []byte) (int, error) {
		if isDirect(t, f) {
			refused++
			return 0, &os.PathError{Op: "write", Err: syscall.EINVAL}
		}
		return f.Write(p)
	}}
	var text strings.Builder
	fs := newBlobFS(base, slog.New(slog.NewTextHandler(&text, nil)), nil, newFlushPace(1<<20))
	dir := t.TempDir()
	want := bytes.Repeat([]byte("value"), pieceBytes/2)
	for _, name := range []string{"1.blob", "2.blob", "3.blob"} {
		f, err := fs.Create(filepath.Join(dir, name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write(want)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
	require.LessOrEqual(t, refused, 1, "it is not asked again")
	require.Equal(t, 1, strings.Count(text.String(), "page cache"), text.String())
}
