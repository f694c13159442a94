package engine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// OpenReadOnly opens a directory of cfg.Kind without changing a byte of it, on a read-only file system too. Where a process has
// it open it is refused; while it is open here no other can open it, unless its LOCK cannot be written to.
// Errors: ErrLocked, ErrNotADataDir, ErrKind, ErrVersion, *damage.Error.
func OpenReadOnly(cfg Config) (*Dir, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := checkComplete(cfg.FS, cfg.Dir, cfg.Kind); err != nil {
		return nil, err
	}
	lock, err := lockExisting(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	cfg.FS = readOnlyFS{cfg.FS}
	d := &Dir{cfg: cfg, readOnly: true, lock: lock, reserve: newReserve(cfg)}
	d.cache = pebble.NewCache(cfg.CacheBytes)
	return d, nil
}

// checkComplete passes for a directory that an owner of this kind has made.
func checkComplete(fs vfs.FS, dir string, kind Kind) error {
	if _, err := fs.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w: there is no such directory", dir, ErrNotADataDir)
	}
	if _, err := fs.Stat(fs.PathJoin(dir, versionFile)); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: %w: it has no %s file", dir, ErrNotADataDir, versionFile)
	}
	if err := checkVersion(fs, dir, kind); errors.Is(err, ErrKind) && kind == Broker {
		return fmt.Errorf("%s: %w: it is a replica's: keyframe verify TOPIC --dir %s compares it with the log", dir, ErrKind, dir)
	} else if errors.Is(err, ErrKind) {
		return fmt.Errorf("%s: %w: it is a broker's: keyframe check looks into it", dir, ErrKind)
	} else if err != nil {
		return err
	}
	databases := []string{tableDir}
	if kind == Broker {
		databases = []string{logDir, tableDir}
	}
	for _, name := range databases {
		_, err := fs.Stat(fs.PathJoin(dir, name+createdSuffix))
		if name == tableDir && errors.Is(err, os.ErrNotExist) {
			_, err = fs.Stat(fs.PathJoin(dir, asideDir)) // SetTableAside came no further
		}
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s: %w of a %s: it has no %s: a %s never came up in it, or the file was lost", dir, ErrNotADataDir, kind, name+createdSuffix, kind)
		}
		if err != nil {
			return fmt.Errorf("data directory %s: %w", dir, err)
		}
	}
	return nil
}

// lockExisting takes the lock where that changes nothing. A directory without a LOCK is a copy that nobody has open.
func lockExisting(fs vfs.FS, dir string) (io.Closer, error) {
	path := fs.PathJoin(dir, lockFile)
	if _, err := fs.Stat(path); errors.Is(err, os.ErrNotExist) {
		return noLock{}, nil
	}
	lock, err := fs.Lock(path)
	var denied *os.PathError
	switch {
	case err == nil:
		return lock, nil
	case errors.As(err, &denied): // it cannot be opened to write: a broker could not do so either
		return noLock{}, nil
	}
	return nil, &LockedError{Dir: dir, PID: readPID(fs, dir), Err: err}
}

type noLock struct{}

func (noLock) Close() error { return nil }

// readOnlyFS refuses every change, so that whoever forgets that the directory is open for reading only gets an error.
type readOnlyFS struct {
	vfs.FS
}

func (readOnlyFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, ErrReadOnly }

func (readOnlyFS) Link(string, string) error { return ErrReadOnly }

func (readOnlyFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, ErrReadOnly
}

func (readOnlyFS) Remove(string) error { return ErrReadOnly }

func (readOnlyFS) RemoveAll(string) error { return ErrReadOnly }

func (readOnlyFS) Rename(string, string) error { return ErrReadOnly }

func (readOnlyFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, ErrReadOnly
}

func (readOnlyFS) MkdirAll(string, os.FileMode) error { return ErrReadOnly }

// Lock is Pebble's own, of each database: the directory's is enough.
func (readOnlyFS) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap is how Pebble looks through wrapped file systems.
func (fs readOnlyFS) Unwrap() vfs.FS { return fs.FS }
