package probe

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// DiskBytes is what the files of a directory take on disk: blocks, so that holes and recycled files count as they are. A file that goes while it is
// counted is not.
func DiskBytes(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil {
			total += allocated(info)
		}
		return err
	})
	return total, err
}
