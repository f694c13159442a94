package engine

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

// readFS says of an sstable or a blob file that cannot be read as it was written that it is damaged, as damage.OfFile does. Pebble, which checks what it has
// read and not that it could, gives an io.EOF of its file to its readers as it comes, without the file's name.
type readFS struct {
	vfs.FS
}

func (fs readFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if !strings.HasSuffix(name, ".sst") && !strings.HasSuffix(name, ".blob") {
		return f, err
	}
	if err != nil {
		return nil, damage.OfFile(name, err)
	}
	return checkedFile{f, name}, nil
}

// Unwrap is how Pebble looks through wrapped file systems.
func (fs readFS) Unwrap() vfs.FS { return fs.FS }

type checkedFile struct {
	vfs.File
	name string
}

func (f checkedFile) ReadAt(p []byte, off int64) (n int, err error) {
	n, err = f.File.ReadAt(p, off)
	if n == len(p) {
		return n, nil // an io.EOF may come with the last bytes of a file
	}
	return n, damage.OfFile(f.name, err)
}
