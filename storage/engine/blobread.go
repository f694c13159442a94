package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A reader of a blob file is taken for one that goes on where it has read on from its own last read.
const (
	aheadBytes   = 2 << 20 // how far the system reads ahead of such a reader
	aheadReaders = 16      // of one file, at a time
)

// blobReader has the system read ahead of whoever reads on. Blob files were written past the page cache, so the first who reads them comes to the
// device; and Pebble begins anew to look whether a reader reads on with each of its iterators, of which each fetch has one, as the
// system does where the readers of several partitions take turns in a file.
type blobReader struct {
	vfs.File

	mu      sync.Mutex
	readers [aheadReaders]readOn
	last    int // the one of them that was made last
}

// readOn is where one reader is.
type readOn struct {
	next  int64 // where its last read ended; 0: nobody
	ahead int64 // the system was asked for what lies below
}

func (f *blobReader) ReadAt(p []byte, off int64) (int, error) {
	if at, length := f.ahead(off, off+int64(len(p))); length > 0 {
		_ = f.Prefetch(at, length) // it may as well not
	}
	return f.File.ReadAt(p, off)
}

// ahead notes a read of [off, end) and says what to read ahead for it.
func (f *blobReader) ahead(off, end int64) (at, length int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.readers {
		r := &f.readers[i]
		if r.next != off || off == 0 {
			continue
		}
		r.next = end
		if end+aheadBytes/2 < r.ahead {
			return 0, 0
		}
		at = max(r.ahead, off)
		r.ahead = end + aheadBytes
		return at, r.ahead - at
	}
	f.last = (f.last + 1) % aheadReaders
	f.readers[f.last] = readOn{next: end}
	return 0, 0
}
