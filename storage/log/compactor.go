package log

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// compactor gives trimmed space back: it compacts the log's key space on one goroutine, every so many appended bytes, after
// a large trim, and when appends have ceased with something left to free. Without something trimmed it does nothing.
type compactor struct {
	db     *pebble.DB
	every  int64
	log    *slog.Logger
	cancel context.CancelFunc
	wake   chan struct{} // has room for one
	ended  chan struct{}

	mu      sync.Mutex
	written int64 // bytes appended since the last compaction
	freed   int64 // bytes trimmed since then
	runs    uint64
}

const (
	idleAfter = time.Second
	idleBytes = 1 << 20 // appended in that time, and it still counts as idle
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
	idle := time.NewTimer(time.Hour)
	defer idle.Stop()
	idle.Stop()
	seen, ticking := int64(0), false // appended at the last tick; the timer runs while something is owed
	for {
		fired := false
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-idle.C:
			fired = true
		}
		c.mu.Lock()
		due := c.dueLocked() || c.every > 0 && fired && c.freed > 0 && c.written-seen < idleBytes
		if fired || !ticking {
			seen = c.written
		}
		owed := c.freed > 0 && c.every > 0
		if due {
			c.written, c.freed, seen, owed = 0, 0, 0, false
			c.runs++
		}
		c.mu.Unlock()
		if due {
			c.compact(ctx)
		}
		if owed && (fired || !ticking) {
			idle.Reset(idleAfter)
		}
		ticking = owed
	}
}

func (c *compactor) compact(ctx context.Context) {
	start, end := keys.Space(keys.SpaceBatch)
	if err := c.db.Compact(ctx, start, end, true); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("trimmed space could not be given back yet", "err", err)
	}
}

func (c *compactor) stop() {
	c.cancel()
	<-c.ended
}
