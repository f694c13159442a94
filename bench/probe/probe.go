// Package probe reads what a process of this machine uses: processor time, memory, bytes on disk.
//
//	p, err := probe.Listening(19092) // the process that listens on the port
//	before, err := p.Usage()
//	...
//	after, err := p.Usage()
//	fmt.Println(after.CPU - before.CPU, after.RSS)
//
// It knows nothing of the process but what the system tells, so that two programs are measured with one measure. There is Linux only: elsewhere
// everything is ErrUnsupported.
package probe

import (
	"errors"
	"time"
)

var (
	// ErrUnsupported: this system does not tell it.
	ErrUnsupported = errors.New("probe: what a process uses is read from Linux's /proc")
	// ErrNoProcess: none of this machine, or none that may be seen.
	ErrNoProcess = errors.New("probe: no such process can be seen on this machine")
)

// Process is one of this machine.
type Process struct {
	PID int
}

// Usage is what a process has used and uses.
type Usage struct {
	CPU     time.Duration // of all its threads since it began, in user and kernel
	RSS     int64         // bytes of memory that are resident
	PeakRSS int64         // the most of them since it began, or since ResetPeak
	Read    int64         // bytes that storage had to be asked for
	Written int64         // bytes that were sent to storage
}
