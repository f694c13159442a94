package log

import (
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// pending is an append that Pebble has applied and not yet synced.
type pending struct {
	p            *Partition // nil: nothing was appended, something else was written
	base, end    int64      // offsets, half-open
	bytes        int        // of the record batch
	maxTimestamp int64
	marker       bool // it ends a transaction
	done         *completion
	next         *pending // in another partition, by the same Pebble batch

	// Of the first one.
	batch *pebble.Batch
	total int  // bytes acquired
	shown bool // the high watermark is behind it; guarded by Partition.mu
}

// committer waits for the syncs of all appends of a store, in their order, on one goroutine.
type committer struct {
	limit  int64
	failed func(error)
	ended  chan struct{}

	completed *completion // of what has been durable for long

	mu       sync.Mutex
	work     sync.Cond // queue is not empty, or stopping
	room     sync.Cond // inFlight went down
	queue    []*pending
	inFlight int64 // bytes acquired
	batches  int   // acquisitions
	stopping bool
	err      error // a sync failed
}

func startCommitter(limit int64, failed func(error)) *committer {
	c := &committer{limit: limit, failed: failed, ended: make(chan struct{}), completed: &completion{ch: make(chan struct{})}}
	close(c.completed.ch)
	c.work.L, c.room.L = &c.mu, &c.mu
	go c.run()
	return c
}

// acquire waits until n more bytes may be in flight. The caller holds no lock; it ends in enqueue or release.
func (c *committer) acquire(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil && c.batches > 0 && (c.inFlight+int64(n) > c.limit || c.batches >= inFlightBatches) {
		c.room.Wait()
	}
	if c.err != nil {
		return c.err
	}
	c.inFlight += int64(n)
	c.batches++
	return nil
}

func (c *committer) release(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight -= int64(n)
	c.batches--
	c.room.Broadcast()
}

// enqueue hands over an applied append. It does not block: acquire has made the room.
func (c *committer) enqueue(a *pending) {
	c.mu.Lock()
	c.queue = append(c.queue, a)
	c.mu.Unlock()
	c.work.Signal()
}

func (c *committer) run() {
	defer close(c.ended)
	var taken []*pending
	for {
		c.mu.Lock()
		for len(c.queue) == 0 && !c.stopping {
			c.work.Wait()
		}
		if len(c.queue) == 0 {
			c.mu.Unlock()
			return
		}
		taken, c.queue = c.queue, taken[:0]
		c.mu.Unlock()
		for i, a := range taken {
			c.finish(a)
			taken[i] = nil
		}
	}
}

func (c *committer) finish(a *pending) {
	err := a.batch.SyncWait()
	if err == nil {
		err = a.batch.Close()
	}
	first := false
	c.mu.Lock()
	if err != nil && c.err == nil {
		first = true
		c.err = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	a.done.err = c.err // after one failure nothing that follows in the write-ahead log counts as durable
	c.mu.Unlock()
	if first {
		c.failed(err)
	}
	for x := a; x != nil; x = x.next {
		x.p.synced(x)
	}
	for x := a; x != nil; x = x.next {
		x.p.notify() // first, so that whoever was told of its append finds that readers were, too
	}
	c.release(a.total) // and that nothing of it is in flight
	close(a.done.ch)
}

// stop waits until everything that was enqueued is finished. Nothing may be enqueued any more.
func (c *committer) stop() {
	c.mu.Lock()
	c.stopping = true
	c.mu.Unlock()
	c.work.Signal()
	<-c.ended
}
