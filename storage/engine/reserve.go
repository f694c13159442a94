package engine

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Reserve refuses writes while the disk's free space is below a reserve, so that Pebble never meets ENOSPC. It asks the
// file system at most every 100 ms or every 8 MiB admitted, inside the calls; nothing runs in the background. Space that
// comes back is noticed by the next call after 100 ms.
type Reserve struct {
	fs        vfs.FS
	dir       string
	now       func() time.Time
	log       *slog.Logger
	need      int64 // refuse below
	healAbove int64 // and admit again above: a little more, so that it does not flap

	admitted atomic.Int64 // bytes since the last poll
	polledNs atomic.Int64
	free     atomic.Int64 // bytes; -1: the file system does not say
	full     atomic.Bool
	refused  atomic.Uint64

	mu sync.Mutex // one poll at a time
}

const (
	pollEvery      = 100 * time.Millisecond
	pollEveryBytes = 8 << 20
)

func newReserve(cfg Config) *Reserve {
	return &Reserve{fs: cfg.FS, dir: cfg.Dir, now: cfg.Now, log: cfg.Logger, need: cfg.ReserveBytes, healAbove: cfg.ReserveBytes + cfg.MemTableBytes}
}

// Admit returns a *DiskFullError when n more bytes must not be written now.
func (r *Reserve) Admit(n int) error {
	if r.admitted.Add(int64(n)) >= pollEveryBytes || r.due() {
		r.poll()
	}
	if !r.full.Load() {
		return nil
	}
	r.refused.Add(1)
	return &DiskFullError{Dir: r.dir, Free: r.free.Load(), Need: r.need}
}

// ReserveState is what readiness and metrics show.
type ReserveState struct {
	FreeBytes    int64 // -1: unknown
	ReserveBytes int64
	Full         bool
	Refused      uint64 // writes refused since the start
}

// State of the reserve, at most 100 ms old.
func (r *Reserve) State() ReserveState {
	if r.due() {
		r.poll()
	}
	return ReserveState{FreeBytes: r.free.Load(), ReserveBytes: r.need, Full: r.full.Load(), Refused: r.refused.Load()}
}

func (r *Reserve) due() bool {
	age := r.now().UnixNano() - r.polledNs.Load()
	return age >= int64(pollEvery) || age < 0 // a clock set back
}

func (r *Reserve) poll() {
	if !r.mu.TryLock() {
		return // another call is at it
	}
	defer r.mu.Unlock()
	defer r.tell(r.full.Load())
	r.admitted.Store(0)
	r.polledNs.Store(r.now().UnixNano())
	usage, err := r.fs.GetDiskUsage(r.dir)
	if err != nil { // an in-memory file system, or a platform that does not say
		r.free.Store(-1)
		r.full.Store(false)
		return
	}
	free := int64(usage.AvailBytes)
	r.free.Store(free)
	if r.full.Load() {
		r.full.Store(free < r.healAbove)
	} else {
		r.full.Store(free < r.need)
	}
}

// tell logs once that the disk has become full, and once that it has space again.
func (r *Reserve) tell(wasFull bool) {
	switch full := r.full.Load(); {
	case full && !wasFull:
		r.log.Warn("writes are refused", "err", &DiskFullError{Dir: r.dir, Free: r.free.Load(), Need: r.need})
	case !full && wasFull:
		r.log.Info("writes are accepted again: the disk has space", "dir", r.dir, "free_bytes", r.free.Load(), "reserve_bytes", r.need)
	}
}

// startable refuses a disk on which not even Pebble's own files would fit.
func (r *Reserve) startable(need int64) error {
	r.poll()
	if free := r.free.Load(); free >= 0 && free < need {
		return fmt.Errorf("%w: %s has %d MiB free, and %d MiB are needed to start: free some space and start again, or choose another directory",
			ErrDiskFull, r.dir, free>>20, need>>20)
	}
	return nil
}
