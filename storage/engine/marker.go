package engine

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// markerFS makes Pebble's manifest switch safe on a file system that keeps directory entries in any order. Pebble creates
// MANIFEST-n, then a marker file that names it, and syncs the directory once, after both. A crash before that sync may keep
// the marker and lose the manifest: the database does not open any more. Journaling file systems keep the order, POSIX does
// not promise it (and the crash tests found it). So the directory is synced before a marker is created: a sync per manifest.
type markerFS struct {
	vfs.FS
}

func (fs markerFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(fs.PathBase(name), "marker.manifest.") {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return fs.FS.Create(name, category)
}

func (fs markerFS) Remove(name string) error {
	if strings.HasPrefix(fs.PathBase(name), "marker.manifest.") {
		if err := syncDir(fs.FS, fs.PathDir(name)); err != nil {
			return err
		}
	}
	return fs.FS.Remove(name)
}

// Unwrap is how Pebble looks through wrapped file systems.
func (fs markerFS) Unwrap() vfs.FS { return fs.FS }
