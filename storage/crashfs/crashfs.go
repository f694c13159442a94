// Package crashfs is Pebble's crashable file system in memory, for tests that crash while sstables are being ingested.
//
//	fs := crashfs.New()
//	... // a database on fs, at work
//	image := fs.CrashClone(vfs.CrashCloneCfg{}) // what a crash leaves at this moment
package crashfs

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is a vfs.MemFS that may be cloned while it is in use. MemFS.Link takes a lock of the file system twice, and waits for ever for a
// CrashClone that asks for it in between; here the two keep apart.
type FS struct {
	*vfs.MemFS
	links sync.Mutex
}

// New returns an empty file system.
func New() *FS { return &FS{MemFS: vfs.NewCrashableMem()} }

// Link implements vfs.FS.
func (f *FS) Link(from, to string) error {
	f.links.Lock()
	defer f.links.Unlock()
	return f.MemFS.Link(from, to)
}

// CrashClone returns what a crash at this moment leaves, see vfs.MemFS.
func (f *FS) CrashClone(cfg vfs.CrashCloneCfg) *FS {
	f.links.Lock()
	defer f.links.Unlock()
	return &FS{MemFS: f.MemFS.CrashClone(cfg)}
}
