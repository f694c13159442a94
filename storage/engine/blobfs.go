package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/blob"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

// blobFS refuses to open a blob file that Pebble 2.1.7 would find damaged as it opens it: that is where it panics (reportCorruption
// does not know blob files), in a compaction too, where nobody can recover from it. An error that is none of its own is given to
// the reader or the compaction. New ones it writes with a blobWriter, those of a flush at its pace.
type blobFS struct {
	vfs.FS
	damaged func(pebble.DataCorruptionInfo)
	log     *slog.Logger

	pieces    sync.Pool   // of a blobWriter
	pageCache atomic.Bool // the file system takes no direct writes
	pace      *flushPace
}

func newBlobFS(fs vfs.FS, log *slog.Logger, damaged func(pebble.DataCorruptionInfo), pace *flushPace) *blobFS {
	return &blobFS{FS: fs, damaged: damaged, log: log, pace: pace, pieces: sync.Pool{New: newPiece}}
}

func (fs *blobFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, ".blob") {
		fs.pace.created(name)
		return f, err
	}
	w := fs.newWriter(f)
	if category == flushCategory {
		w.flushing = fs.pace.begin()
	}
	return w, nil
}

func (fs *blobFS) ReuseForWrite(old, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	fs.pace.created(name)
	return fs.FS.ReuseForWrite(old, name, category)
}

func (fs *blobFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if !strings.HasSuffix(name, ".blob") {
		return fs.FS.Open(name, opts...)
	}
	if err := damage.OfFile(name, checkFooter(fs.FS, name)); pebble.IsCorruptionError(err) {
		return nil, fs.refuse(&damage.Error{Path: name, Offset: -1, Why: damage.Why(err)})
	} else if err != nil {
		return nil, err
	}
	f, err := fs.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return &blobReader{File: f}, nil
}

func (fs *blobFS) refuse(err *damage.Error) error {
	fs.damaged(pebble.DataCorruptionInfo{Path: err.Path, Details: errors.New(err.Why)})
	return err
}

func checkFooter(fs vfs.FS, name string) error {
	f, err := fs.Open(name)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := blob.NewFileReader(context.Background(), readable, blob.FileReaderOptions{})
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return r.Close()
}

// Unwrap is how Pebble looks through wrapped file systems.
func (fs *blobFS) Unwrap() vfs.FS { return fs.FS }
