package damage

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// SomeBlob is the Path of damage of which nobody says the file.
const SomeBlob = "a blob file"

// Value fetches the value under an iterator; it is valid until the iterator moves. A blob file that was missing when the database
// was opened, or has a damaged footer, makes Pebble 2.1.7 panic while it reports the damage (reportCorruption does not know blob
// files); for a reader that is damage like any other, and the iterator can go on. The error is an *Error then, of SomeBlob.
func Value(it *pebble.Iterator) (value []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			value, err = nil, &Error{Path: SomeBlob, Offset: -1, Why: "it is missing, or its end is not as it was written", Err: pebble.ErrCorruption}
		}
	}()
	return it.ValueAndErr()
}

// BlobFiles says which blob files of a database are missing or do not have the size that they were written with. They were synced
// before the MANIFEST named them, so no crash leaves one like that. Pebble looks at sstables in this way when it opens a database,
// at blob files it does not. The database must be open for reading only: Pebble hands out its current version without a reference,
// and a compaction may release it.
func BlobFiles(fs vfs.FS, dir string, db *pebble.DB) (found []*Error) {
	for path, size := range blobFiles(fs, dir, db) {
		info, err := fs.Stat(path)
		switch {
		case errors.Is(err, os.ErrNotExist):
			found = append(found, &Error{Path: path, Offset: -1, Why: "it is missing", Err: err})
		case err == nil && info.Size() != size:
			found = append(found, &Error{Path: path, Offset: -1, Why: fmt.Sprintf("it has %d bytes, and %d were written", info.Size(), size)})
		}
	}
	slices.SortFunc(found, func(a, b *Error) int { return cmp.Compare(a.Path, b.Path) })
	return found
}

// blobFiles are the paths and sizes that the MANIFEST names.
func blobFiles(fs vfs.FS, dir string, db *pebble.DB) map[string]int64 {
	files := map[string]int64{}
	for blob := range db.DebugCurrentVersion().BlobFiles.All() {
		files[fs.PathJoin(dir, blob.Physical.FileNum.String()+".blob")] = int64(blob.Physical.Size)
	}
	return files
}
