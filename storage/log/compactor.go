package log

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// compactor gives trimmed space back on one goroutine. It compacts the log's key space every so many appended bytes, after a large trim,
// and when appends have ceased with something left to free. Compaction drops the keys; their blob files Pebble rewrites afterwards, but
// not those younger than a second, and it does not look at them again by itself: so when the log is idle and blob files still hold much
// garbage, the compactor makes it look. Without something trimmed it does nothing.
type compactor struct {
	db     *pebble.DB
	every  int64 // bytes
	log    *slog.Logger
	cancel context.CancelFunc
	wake   chan struct{} // has room for one
	ended  chan struct{}

	mu      sync.Mutex
	written int64 // bytes appended since the last compaction
	freed   int64 // bytes trimmed since then
	looks   int   // how often the blob files may still be looked at after the last compaction
	runs    uint64
}

const (
	idleAfter    = time.Second
	idleBytes    = 1 << 20 // appended in that time, and it still counts as idle
	looksMax     = 5       // after a compaction
	garbageShare = 0.25    // of the blob files that is worth another look; Pebble rewrites them from a fifth on
	garbageBytes = 4 << 20 // and at least so much
)

func startCompactor(db *pebble.DB, every int64, log *slog.Logger) *compactor {
	ctx, cancel := context.WithCancel(context.Background())
	c := &compactor{db: db, every: every, log: log, cancel: cancel, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go c.run(ctx)
	return c
}

func (c *compactor) appended(n int) {
	c.mu.Lock()
	c.written += int64(n)
	due := c.dueLocked()
	c.mu.Unlock()
	if due {
		c.signal()
	}
}

// trimmed always wakes the goroutine: what is not due now is when the log is idle.
func (c *compactor) trimmed(n int64) {
	c.mu.Lock()
	c.freed += max(n, 1)
	c.mu.Unlock()
	c.signal()
}

func (c *compactor) dueLocked() bool {
	return c.every > 0 && c.freed > 0 && max(c.written, c.freed) >= c.every
}

func (c *compactor) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // it will look anyway
	}
}

func (c *compactor) run(ctx context.Context) {
	defer close(c.ended)
	tick := time.NewTimer(time.Hour)
	defer tick.Stop()
	tick.Stop()
	ticking, seen := false, int64(0) // seen: appended when the timer was set
	for {
		fired := false
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-tick.C:
			fired, ticking = true, false
		}
		c.step(ctx, fired, seen)
		c.mu.Lock()
		written, owes := c.written, c.freed > 0 && c.every > 0 || c.looks > 0
		c.mu.Unlock()
		if owes && !ticking {
			seen, ticking = written, true
			tick.Reset(idleAfter)
		}
	}
}

// step does what is due: a compaction, or another look at the blob files. After a tick it may be that appends have ceased since seen.
func (c *compactor) step(ctx context.Context, ticked bool, seen int64) {
	c.mu.Lock()
	idle := ticked && c.every > 0 && c.written-seen < idleBytes
	compact := c.dueLocked() || idle && c.freed > 0
	look := idle && !compact && c.looks > 0
	switch {
	case compact:
		c.written, c.freed, c.looks = 0, 0, looksMax
		c.runs++
	case look:
		c.looks--
	}
	c.mu.Unlock()
	var err error
	switch {
	case compact:
		err = c.compact(ctx)
	case look && c.hasGarbage():
		err = c.look(ctx)
	case look:
		c.mu.Lock()
		c.looks = 0
		c.mu.Unlock()
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("trimmed space could not be given back yet", "err", err)
	}
}

func (c *compactor) compact(ctx context.Context) error {
	start, end := keys.Space(keys.SpaceBatch)
	return c.db.Compact(ctx, start, end, true)
}

// hasGarbage tells whether blob files hold much that no key refers to.
func (c *compactor) hasGarbage() bool {
	b := c.db.Metrics().BlobFiles
	garbage := float64(b.ValueSize) - float64(b.ReferencedValueSize)
	return garbage >= garbageBytes && garbage >= garbageShare*float64(b.ValueSize)
}

// look makes Pebble schedule what is due, blob file rewrites among it: it does so after a flush, and flushes where something was written.
func (c *compactor) look(ctx context.Context) error {
	if err := c.db.Delete(keys.Batch(nil, math.MaxUint32, math.MaxInt64), pebble.NoSync); err != nil { // nothing is there
		return err
	}
	return c.compact(ctx)
}

func (c *compactor) stop() {
	c.cancel()
	<-c.ended
}
