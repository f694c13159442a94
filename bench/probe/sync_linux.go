package probe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Sync has the system write everything of the file system that a directory lies in to disk, and waits for it.
func Sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("probe: sync of %s: %w", dir, err)
	}
	return nil
}

// SyncData has the system write what a file holds to disk, and waits for it, as a log does at each acknowledgement: fdatasync.
func SyncData(f *os.File) error {
	if err := unix.Fdatasync(int(f.Fd())); err != nil {
		return fmt.Errorf("probe: sync of %s: %w", f.Name(), err)
	}
	return nil
}

// SyncAll is Sync of all file systems.
func SyncAll() error {
	unix.Sync()
	return nil
}

// DropCaches has the system forget what it has read from and written to files, after writing it to disk: what is read next comes from there. Errors:
// ErrUnsupported where that is not allowed; root alone may.
func DropCaches() error {
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return fmt.Errorf("%w: the page cache cannot be dropped: %w", ErrUnsupported, err)
	}
	return nil
}
