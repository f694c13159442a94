//go:build !linux

package probe

import (
	"os"
	"time"
)

// Alive says whether the process is there.
func (p Process) Alive() bool { return false }

// Known says whether the system still has it in its list.
func (p Process) Known() bool { return false }

// Began is not told here.
func (p Process) Began() (time.Time, error) { return time.Time{}, ErrUnsupported }

// Usage is not told here.
func (p Process) Usage() (Usage, error) { return Usage{}, ErrUnsupported }

// ResetPeak cannot be done here.
func (p Process) ResetPeak() error { return ErrUnsupported }

// Command is not told here.
func (p Process) Command() ([]string, error) { return nil, ErrUnsupported }

// Listening is not told here.
func Listening(int) (Process, error) { return Process{}, ErrUnsupported }

// Sync cannot be done here.
func Sync(string) error { return ErrUnsupported }

// SyncData cannot be done here.
func SyncData(*os.File) error { return ErrUnsupported }

// SyncAll cannot be done here.
func SyncAll() error { return ErrUnsupported }

// DropCaches cannot be done here.
func DropCaches() error { return ErrUnsupported }
