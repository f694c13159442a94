package engine

import (
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// flushCategory is what Pebble calls the files of a flush.
const flushCategory = vfs.DiskWriteCategory("pebble-memtable-flush")

// A flush takes the flushShare-th part of the time in which a memtable was filled, and flushLongest at most.
const (
	flushShare   = 2
	flushLongest = time.Second
)

// flushPace spreads the flush of a memtable over the time in which the next one is filled. At full speed a flush takes the device, and processors where
// they are few, from the syncs of the WAL, which producers wait for. Once the next memtable is full there is no more time to give away: what is left is
// written at full speed, so that a pace never makes a writer wait.
type flushPace struct {
	bytes float64 // of a memtable
	now   func() time.Time
	sleep func(time.Duration)

	mu sync.Mutex
	// Guarded by mu.
	full  int           // memtables so far
	last  time.Time     // when the last one was
	every time.Duration // between the last two; 0: not known
}

func newFlushPace(memTableBytes int64) *flushPace {
	return &flushPace{bytes: float64(memTableBytes), now: time.Now, sleep: time.Sleep}
}

// created is told of every file that is created: a WAL says that a memtable is full.
func (p *flushPace) created(name string) {
	if !strings.HasSuffix(name, ".log") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.full++; p.full > 1 {
		p.every = now.Sub(p.last)
	}
	p.last = now
}

// flushing is how one file of a flush is written; nil: as fast as can be.
type flushing struct {
	pace  *flushPace
	began time.Time
	takes time.Duration // for a whole memtable
	full  int           // memtables, as it began
	wrote float64
}

func (p *flushPace) begin() *flushing {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &flushing{pace: p, began: p.now(), takes: min(p.every/flushShare, flushLongest), full: p.full}
}

// wait returns when bytes are to be written.
func (f *flushing) wait(bytes int) {
	if f == nil {
		return
	}
	due := f.began.Add(time.Duration(f.wrote / f.pace.bytes * float64(f.takes)))
	f.wrote += float64(bytes)
	if early := due.Sub(f.pace.now()); early > 0 && !f.pace.hasFilledSince(f.full) {
		f.pace.sleep(early)
	}
}

func (p *flushPace) hasFilledSince(full int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full != full
}
