package engine

import (
	"errors"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A blob file is written in pieces that lie at multiples of pieceAlign in the file and in memory, which is what every block device takes.
const (
	pieceBytes = 1 << 20
	pieceAlign = 4096
)

// blobWriter collects what is written to a new blob file and gives it to the device in large pieces, past the page cache (O_DIRECT) where
// the file system can do that: blob files are most of what a log writes, and taking up new pages for them was half of its CPU time. What
// is no multiple of the alignment, at the end, goes through the page cache. It is for one writer at a time, and like any file durable when
// Sync returns.
type blobWriter struct {
	vfs.File
	fs       *blobFS
	flushing *flushing
	piece    *[pieceBytes]byte
	n        int // bytes collected in it
	direct   bool
	ended    bool // the end was written: what follows goes to File
}

func (fs *blobFS) newWriter(f vfs.File) *blobWriter {
	w := &blobWriter{File: f, fs: fs, piece: fs.pieces.Get().(*[pieceBytes]byte)}
	if fd := f.Fd(); fd != vfs.InvalidFd && !fs.pageCache.Load() {
		if err := setDirect(fd, true); err != nil {
			fs.fallBack(err)
		} else {
			w.direct = true
		}
	}
	return w
}

// newPiece returns aligned memory for a piece.
func newPiece() any {
	b := make([]byte, pieceBytes+pieceAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (pieceAlign - 1)
	return (*[pieceBytes]byte)(b[skip:])
}

// fallBack has this and all later files go through the page cache, and tells so once.
func (fs *blobFS) fallBack(err error) {
	if !fs.pageCache.Swap(true) {
		fs.log.Info("blob files are written through the page cache: the file system takes no direct writes", "err", err)
	}
}

func (w *blobWriter) Write(p []byte) (n int, err error) {
	if w.ended {
		return w.File.Write(p)
	}
	for len(p) > 0 {
		took := copy(w.piece[w.n:], p)
		if w.n += took; w.n == pieceBytes {
			if err := w.put(w.piece[:]); err != nil {
				return n, err
			}
			w.n = 0
		}
		n, p = n+took, p[took:]
	}
	return n, nil
}

// put writes a whole piece. That a file system says it could, and then cannot (EINVAL), is found with the first one.
func (w *blobWriter) put(p []byte) error {
	w.flushing.wait(len(p))
	n, err := w.File.Write(p)
	if err == nil || !w.direct || !errors.Is(err, syscall.EINVAL) {
		return err
	}
	w.fs.fallBack(err)
	if err := w.leaveDirect(); err != nil {
		return err
	}
	_, err = w.File.Write(p[n:])
	return err
}

func (w *blobWriter) leaveDirect() error {
	if !w.direct {
		return nil
	}
	w.direct = false
	return setDirect(w.File.Fd(), false)
}

// end writes what is left.
func (w *blobWriter) end() error {
	if w.ended {
		return nil
	}
	w.ended = true
	defer func() {
		w.fs.pieces.Put(w.piece)
		w.piece = nil
	}()
	rest := w.piece[:w.n]
	if whole := w.n &^ (pieceAlign - 1); w.direct && whole > 0 {
		if err := w.put(rest[:whole]); err != nil {
			return err
		}
		rest = rest[whole:]
	}
	if err := w.leaveDirect(); err != nil || len(rest) == 0 {
		return err
	}
	_, err := w.File.Write(rest)
	return err
}

func (w *blobWriter) Sync() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.File.Sync()
}

func (w *blobWriter) SyncData() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.File.SyncData()
}

// SyncTo is a hint that dirty pages may go to the device.
func (w *blobWriter) SyncTo(offset int64) (fullSync bool, err error) {
	if w.direct {
		return false, nil
	}
	_, err = w.File.SyncTo(offset)
	return false, err // what is collected is not synced
}

func (w *blobWriter) Close() error { return errors.Join(w.end(), w.File.Close()) }
