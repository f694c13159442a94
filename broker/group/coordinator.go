package group

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/broker/group/consumer"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Coordinator owns the consumer groups of the broker: it feeds their state machines, makes durable what they say, keeps
// their time and their offsets. Its methods are safe for concurrent use and never wait for other members; an answer that
// has to wait is given through a callback, which must not block. Waiting requests hold no goroutine.
type Coordinator struct {
	cfg      Config
	metrics  *metrics
	patterns *consumer.Patterns // of all groups

	mu       sync.Mutex
	entries  map[string]*entry
	timers   deadline.Heap[*entry]
	sweepAt  time.Time
	tickets  Ticket
	joins    map[Ticket]func(JoinReply)
	syncs    map[Ticket]func(SyncReply)
	closed   bool
	wake     chan struct{} // the earliest deadline has changed
	stop     chan struct{}
	ready    []*entry // that have writes, and no writer
	running  int      // writers that do not hold a group for somebody else
	writers  sync.WaitGroup
	timekeep sync.WaitGroup
}

// entry is all there is about one group id. It lives as long as there is a group or a write under way.
type entry struct {
	name    string
	group   machine // nil when there is no such group (any more)
	offsets map[topicPartition]Offset
	pending pending // offsets of open transactions
	queue   []write
	writing bool // a goroutine works on queue
	life    int  // counts removals: a write that was begun before one does not touch what came after
	keeps   int  // writes of a consumer group's metadata in the queue, and under way
	timer   deadline.Place[*entry]
}

type topicPartition struct {
	topic     string
	partition int32
}

// outbox collects the callbacks of a step, to be called without the lock.
type outbox []func()

func (o outbox) deliver() {
	for _, f := range o {
		f()
	}
}

// Open restores the groups of the store and starts the coordinator's timer.
func Open(cfg Config) (*Coordinator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Topics == nil {
		cfg.Topics = noTopics{}
	}
	c := &Coordinator{
		cfg: cfg, entries: map[string]*entry{}, patterns: consumer.NewPatterns(cfg.Topics),
		joins: map[Ticket]func(JoinReply){}, syncs: map[Ticket]func(SyncReply){},
		sweepAt: cfg.Now().Add(cfg.RetentionCheck),
		wake:    make(chan struct{}, 1), stop: make(chan struct{}),
	}
	names, err := cfg.Store.Groups()
	if err != nil {
		return nil, fmt.Errorf("list groups: %w", err)
	}
	for _, name := range names {
		if err := c.restore(name); err != nil {
			return nil, fmt.Errorf("group %q: %w", name, err)
		}
	}
	c.metrics = newMetrics(cfg.Metrics, c)
	c.timekeep.Go(func() { deadline.Keep(c.stop, c.wake, c.expire) })
	return c, nil
}

// restore loads one group by its name in the store. Before the timer runs nobody else looks at c.
func (c *Coordinator) restore(name string) error {
	now := c.cfg.Now()
	e := c.entryLocked(nameInStore(name))
	raw, ok, err := c.cfg.Store.GetGroup(name)
	if err != nil {
		return err
	}
	e.group = New(now, c.options())
	switch {
	case ok && len(raw) > 0 && raw[0] == consumer.MetadataVersion:
		g, err := consumer.Restore(now, c.consumerOptions(nameInStore(name)), raw)
		if err != nil {
			return err
		}
		e.group = &modern{Group: g}
	case ok:
		meta, err := DecodeMetadata(raw)
		if err != nil {
			return err
		}
		e.group = Restore(now, c.options(), meta)
	}
	commits, err := c.cfg.Store.Offsets(name)
	if err != nil {
		return err
	}
	var gone []catalog.OffsetCommit
	for _, o := range commits {
		if c.cfg.TopicExists != nil && !c.cfg.TopicExists(o.Topic) {
			o.Delete = true
			gone = append(gone, o)
			continue
		}
		e.offsets[topicPartition{o.Topic, o.Partition}] = offsetOf(o)
	}
	if len(gone) > 0 {
		if err := c.cfg.Store.PutOffsets(name, gone); err != nil {
			return err
		}
	}
	if err := c.restorePending(name, e); err != nil {
		return err
	}
	c.setTimerLocked(e)
	return nil
}

// Close answers everything that waits with NOT_COORDINATOR, refuses what comes later, and waits until the last write is
// done.
func (c *Coordinator) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	now := c.cfg.Now()
	var out outbox
	for _, e := range c.entries {
		if e.group != nil {
			c.repliesLocked(e.group.kill(now, kerr.NotCoordinator), &out)
		}
	}
	close(c.stop)
	c.mu.Unlock()
	out.deliver()
	c.timekeep.Wait()
	c.writers.Wait()
	if c.cfg.Metrics != nil {
		c.metrics.unregister(c.cfg.Metrics)
	}
	return nil
}

func (c *Coordinator) options() Options {
	return Options{InitialRebalanceDelay: c.cfg.InitialRebalanceDelay, MaxSize: c.cfg.MaxSize}
}

// entryLocked finds or makes the entry of a group id.
func (c *Coordinator) entryLocked(name string) *entry {
	e := c.entries[name]
	if e == nil {
		e = &entry{name: name, offsets: map[topicPartition]Offset{}, pending: pending{}}
		e.timer.Of = e
		c.entries[name] = e
	}
	return e
}

// groupLocked finds a group; nil if there is none.
func (c *Coordinator) groupLocked(name string) *entry {
	if e := c.entries[name]; e != nil && e.group != nil {
		return e
	}
	return nil
}

// createLocked finds or creates a group.
func (c *Coordinator) createLocked(name string, now time.Time) *entry {
	e := c.entryLocked(name)
	if e.group == nil {
		e.group = New(now, c.options())
	}
	return e
}

// settleLocked carries out the effects of a step of a classic group, and steps that are due at once, and sets the group's timer.
func (c *Coordinator) settleLocked(e *entry, g *Group, now time.Time, fx Effects, out *outbox) {
	for {
		c.repliesLocked(fx, out)
		if fx.Save != nil {
			c.enqueueLocked(e, write{save: fx.Save})
		}
		if at, ok := g.Deadline(); !ok || at.After(now) {
			break
		}
		fx = g.Tick(now)
	}
	if c.setTimerLocked(e) {
		deadline.Wake(c.wake)
	}
}

func (c *Coordinator) repliesLocked(fx Effects, out *outbox) {
	for _, r := range fx.Joins {
		if done := c.joins[r.Ticket]; done != nil {
			delete(c.joins, r.Ticket)
			*out = append(*out, func() { done(r) })
		}
	}
	for _, r := range fx.Syncs {
		if done := c.syncs[r.Ticket]; done != nil {
			delete(c.syncs, r.Ticket)
			*out = append(*out, func() { done(r) })
		}
	}
}

// memberID makes an id for a new member, in the form that Kafka's have.
func (c *Coordinator) memberID(prefix string) (string, error) {
	var b [16]byte
	if _, err := c.cfg.Rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("member id: %w", err)
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // a version 4 UUID
	h := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s-%s", prefix, h[:8], h[8:12], h[12:16], h[16:20], h[20:]), nil
}
