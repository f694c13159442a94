package txn

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Coordinator owns the transactional ids of the broker: it feeds their state machines, applies what they save, writes the ends of
// their transactions and keeps their time. Its methods are safe for concurrent use and do not wait for the disk: what has to be
// durable before it is answered is waited for with Answer.Wait.
type Coordinator struct {
	cfg     Config
	metrics *metrics

	mu       sync.Mutex // after entry.mu, where both are held
	entries  map[string]*entry
	timers   deadline.Heap[*entry]
	spare    []int64 // producer ids that were drawn and not used
	tickets  Ticket
	closed   bool
	wake     chan struct{} // the earliest deadline has changed
	stop     chan struct{}
	timekeep sync.WaitGroup
	ends     ends
}

// entry is all there is about one transactional id.
type entry struct {
	id    string
	timer deadline.Place[*entry] // guarded by Coordinator.mu

	mu       sync.Mutex // held while the store applies a save, never across a sync
	txn      *Txn       // nil: not there yet, or not any more
	gone     bool       // look the transactional id up again
	last     *catalog.Write
	unsaved  bool // the last save was not applied
	waiting  map[Ticket]chan Reply
	deadline time.Time // as the timer has it
	retryAt  time.Time // an end failed: not before this
}

// retryAfter is how long a transaction whose end could not be written is left alone.
const retryAfter = time.Second

// Answer is the answer to a request, which may have to wait.
type Answer struct {
	reply   Reply
	write   *catalog.Write // to be durable first
	unsaved bool           // and it cannot be
	ch      chan Reply     // of an end
}

// Wait returns the reply when it may be told; false when ctx is done first. Call it once.
func (a Answer) Wait(ctx context.Context) (Reply, bool) {
	if a.ch != nil {
		select {
		case a.reply = <-a.ch:
		case <-ctx.Done():
			return Reply{}, false
		}
	}
	if a.unsaved && a.reply.Err == nil {
		return Reply{Err: kerr.CoordinatorNotAvailable, Producer: NoProducer()}, true
	}
	if a.write != nil && a.reply.Err == nil {
		if err := a.write.Wait(); err != nil {
			return Reply{Err: kerr.CoordinatorNotAvailable, Producer: NoProducer()}, true
		}
	}
	return a.reply, true
}

// answerLocked is an answer that rests on what the entry has saved.
func (e *entry) answerLocked(r Reply) Answer {
	return Answer{reply: r, write: e.last, unsaved: e.unsaved}
}

func refused(err *kerr.Error) Answer { return Answer{reply: Reply{Err: err, Producer: NoProducer()}} }

// Open restores the transactional ids of the store and starts the coordinator's timer. Transactions that were open go on, and time out
// as if nothing had happened.
func Open(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Coordinator{cfg: cfg, entries: map[string]*entry{}, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	list, err := cfg.Store.Transactions()
	if err != nil {
		return nil, err
	}
	for i := range list {
		e := newEntry(list[i].ID)
		e.txn = Restore(&list[i], cfg.IDExpiration)
		c.entries[e.id] = e
		e.mu.Lock()
		c.setTimerLocked(e)
		e.mu.Unlock()
	}
	c.metrics = newMetrics(cfg.Metrics, c)
	c.timekeep.Go(func() { deadline.Keep(c.stop, c.wake, c.expire) })
	return c, nil
}

// Close refuses what comes later, and waits for the ends that are being written.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	close(c.stop)
	all := c.entriesLocked()
	c.mu.Unlock()
	for _, e := range all {
		e.mu.Lock() // who was about to begin an end has begun it, and everybody else finds the entry gone
		e.gone = true
		e.mu.Unlock()
	}
	c.timekeep.Wait()
	c.ends.writers.Wait()
	if c.cfg.Metrics != nil {
		c.metrics.unregister(c.cfg.Metrics)
	}
	return nil
}

func newEntry(id string) *entry {
	e := &entry{id: id, waiting: map[Ticket]chan Reply{}}
	e.timer.Of = e
	return e
}

func (c *Coordinator) entriesLocked() []*entry {
	all := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e)
	}
	return all
}

// lock finds the entry of a transactional id and locks it; nil if there is none.
func (c *Coordinator) lock(id string, create bool) (*entry, *kerr.Error) {
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return nil, kerr.CoordinatorNotAvailable
		}
		e := c.entries[id]
		if e == nil && create {
			e = newEntry(id)
			c.entries[id] = e
		}
		c.mu.Unlock()
		if e == nil {
			return nil, kerr.InvalidProducerIDMapping
		}
		e.mu.Lock()
		if !e.gone && (e.txn != nil || create) {
			return e, nil
		}
		gone := e.gone
		e.mu.Unlock()
		if !gone {
			return nil, kerr.InvalidProducerIDMapping // somebody is about to create it
		}
	}
}

// applyLocked carries out the effects of a step. An error of the store means that the process is about to end.
func (c *Coordinator) applyLocked(e *entry, fx Effects) {
	if fx.Addition != nil && e.unsaved { // it adds to what is not there
		whole := e.txn.Record()
		fx.Save, fx.Addition = &whole, nil
	}
	if fx.Addition != nil {
		w, err := c.cfg.Store.PutTxnAddition(fx.Addition)
		c.savedLocked(e, w, err)
	}
	if fx.Save != nil {
		w, err := c.cfg.Store.PutTransaction(fx.Save)
		c.savedLocked(e, w, err)
	}
	if fx.Remove {
		if _, err := c.cfg.Store.DeleteTransaction(e.id); err != nil {
			c.cfg.Logger.Error("cannot remove a transactional id", "transactional_id", e.id, "error", err)
		}
		e.gone = true
		c.mu.Lock()
		delete(c.entries, e.id)
		c.mu.Unlock()
	}
	for _, r := range fx.Replies {
		if ch := e.waiting[r.Ticket]; ch != nil {
			delete(e.waiting, r.Ticket)
			ch <- r // has room
		}
	}
	if fx.End != nil {
		c.enqueueEnd(e, fx.End)
	}
	c.setTimerLocked(e)
}

func (c *Coordinator) savedLocked(e *entry, w *catalog.Write, err error) {
	if e.unsaved = err != nil; e.unsaved {
		c.cfg.Logger.Error("cannot save a transaction", "transactional_id", e.id, "error", err)
	}
	e.last = w
}

// setTimerLocked brings the entry's timer up to date.
func (c *Coordinator) setTimerLocked(e *entry) {
	at, ok := e.txn.Deadline()
	if !ok {
		at = time.Time{}
	} else if at.Before(e.retryAt) {
		at = e.retryAt
	}
	if at.Equal(e.deadline) {
		return
	}
	e.deadline = at
	c.mu.Lock()
	earliest := c.timers.Set(&e.timer, at)
	c.mu.Unlock()
	if earliest {
		deadline.Wake(c.wake)
	}
}

// withSpare does a step that may need another producer id for its client, and keeps the id for the next one if the step did not. It is
// taken before anything is locked, because the disk may be waited for.
func (c *Coordinator) withSpare(step func(spare int64) (a Answer, used bool)) Answer {
	spare, err := c.takeSpare()
	if err != nil {
		c.cfg.Logger.Error("cannot allocate a producer id", "error", err)
		return refused(kerr.CoordinatorNotAvailable)
	}
	a, used := step(spare)
	if !used {
		c.giveBack(spare)
	}
	return a
}

// takeSpare returns a producer id that was never used; a disk may be waited for.
func (c *Coordinator) takeSpare() (int64, error) {
	c.mu.Lock()
	if n := len(c.spare); n > 0 {
		id := c.spare[n-1]
		c.spare = c.spare[:n-1]
		c.mu.Unlock()
		return id, nil
	}
	c.mu.Unlock()
	id, err := c.cfg.Store.NextProducerID()
	if err != nil {
		return 0, fmt.Errorf("producer id: %w", err)
	}
	return id, nil
}

// giveBack keeps a producer id for the next who needs one.
func (c *Coordinator) giveBack(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spare = append(c.spare, id)
}

// draw names an EndTxn.
func (c *Coordinator) draw() Ticket {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tickets++
	return c.tickets
}
