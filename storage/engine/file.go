package engine

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// mkdirDurable creates dir and what is missing above it, from the top. Each name is durable in its parent before the next
// one is made, so a crash leaves at most one that is not: the lowest that is there, whose parent is synced in any case.
func mkdirDurable(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	_, err := fs.Stat(dir)
	there := err == nil
	if !there {
		if parent != dir {
			if err := mkdirDurable(fs, parent); err != nil {
				return err
			}
		}
		if err := fs.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	err = syncDir(fs, parent)
	if there && errors.Is(err, os.ErrPermission) {
		return nil // a parent that may not be listed, such as /home: somebody else made what is in it
	}
	return err
}

func syncDir(fs vfs.FS, dir string) error {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func writeFile(fs vfs.FS, path, text string) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(text)); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// readFile reads a small file; what is beyond 4 KiB is not looked at.
func readFile(fs vfs.FS, path string) (string, error) {
	f, err := fs.Open(path)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return string(b), errors.Join(err, f.Close())
}

func readPID(fs vfs.FS, dir string) int {
	text, err := readFile(fs, fs.PathJoin(dir, pidFile))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0
	}
	return pid
}

// isHeld tells a lock that is held (EAGAIN or EACCES of fcntl) from a file that may not be created, which is a *PathError.
func isHeld(err error) bool {
	var path *os.PathError
	return !errors.As(err, &path) && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES))
}
