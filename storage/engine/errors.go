package engine

import (
	"errors"
	"fmt"
)

var (
	// ErrLocked: another process has the directory open. The error is a *LockedError.
	ErrLocked = errors.New("data directory is in use")
	// ErrNotADataDir: the directory has files in it, and none of them is VERSION.
	ErrNotADataDir = errors.New("not a keyframe data directory")
	// ErrKind: the directory is a broker's and a replica's is needed, or the other way round.
	ErrKind = errors.New("data directory of another kind")
	// ErrVersion: the directory was written by a version that this program does not know.
	ErrVersion = errors.New("unknown data directory version")
	// ErrReadOnly: the directory was opened with OpenReadOnly.
	ErrReadOnly = errors.New("data directory is open for reading only")
	// ErrDiskFull: free space is below the reserve. It passes by itself when there is space again.
	ErrDiskFull = errors.New("disk is full")
)

// LockedError says who holds the directory.
type LockedError struct {
	Dir string
	PID int // 0: unknown
	Err error
}

func (e *LockedError) Error() string {
	who := "another process"
	if e.PID != 0 {
		who = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data directory %s is in use by %s: stop it, or choose another directory (%v)", e.Dir, who, e.Err)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

func (e *LockedError) Unwrap() error { return e.Err }

// DiskFullError says how much is missing. errors.Is(err, ErrDiskFull) is true.
type DiskFullError struct {
	Dir        string
	Free, Need int64 // bytes
}

func (e *DiskFullError) Error() string {
	return fmt.Sprintf("disk of %s is full: %d MiB free, %d MiB are kept in reserve: free some space, writing goes on by itself",
		e.Dir, e.Free>>20, e.Need>>20)
}

// Is makes errors.Is(err, ErrDiskFull) true.
func (e *DiskFullError) Is(target error) bool { return target == ErrDiskFull }
