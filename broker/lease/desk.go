package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Store keeps leases. *catalog.Catalog is one.
type Store interface {
	PutLease(l *catalog.Lease, replaced ...[16]byte) error
	DropLeases(ids ...[16]byte) error
	Leases() ([]catalog.Lease, error)
}

// Config of a Desk. Store is required; zero values of the rest mean the defaults.
type Config struct {
	Store Store
	// TopicExists says whether a topic is there. Default: all are.
	TopicExists func(topicID [16]byte) bool
	// Bytes is how many bytes of raw deltas a partition has from an offset on. Default: none.
	Bytes func(ctx context.Context, topicID [16]byte, partition int32, from int64) (int64, error)
	// Full says whether the disk is at its reserve. Default: it is not.
	Full func() bool

	Duration time.Duration // of a lease without a renewal. Default 30 s
	// LeaseBytesMax and TopicBytesMax bound what one lease, and those of a topic, hold up. Default 4 GiB and 16 GiB.
	LeaseBytesMax, TopicBytesMax int64
	LeasesMax                    int // how many may be out. Default 2^17

	Now     func() time.Time
	Random  io.Reader
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: not registered
}

const (
	defaultDuration      = 30 * time.Second
	defaultLeaseBytesMax = 4 << 30
	defaultTopicBytesMax = 16 << 30
	defaultLeasesMax     = 1 << 17
)

func (c Config) withDefaults() Config {
	if c.TopicExists == nil {
		c.TopicExists = func([16]byte) bool { return true }
	}
	if c.Bytes == nil {
		c.Bytes = func(context.Context, [16]byte, int32, int64) (int64, error) { return 0, nil }
	}
	if c.Full == nil {
		c.Full = func() bool { return false }
	}
	if c.Duration <= 0 {
		c.Duration = defaultDuration
	}
	if c.LeaseBytesMax <= 0 {
		c.LeaseBytesMax = defaultLeaseBytesMax
	}
	if c.TopicBytesMax <= 0 {
		c.TopicBytesMax = defaultTopicBytesMax
	}
	if c.LeasesMax <= 0 {
		c.LeasesMax = defaultLeasesMax
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Desk grants leases. Its methods may be called concurrently. Grant and Held do no input or output, so that they may be called
// under a lock.
type Desk struct {
	cfg     Config
	granted prometheus.Counter

	mu sync.Mutex
	m  *machine // guarded by mu
}

// Open reads the leases that are out. Each has its full time again. Errors: the store's.
func Open(cfg Config) (*Desk, error) {
	cfg = cfg.withDefaults()
	d := &Desk{cfg: cfg, m: newMachine(cfg.Duration, cfg.LeasesMax)}
	stored, err := cfg.Store.Leases()
	if err != nil {
		return nil, err
	}
	d.m.advance(d.nowMs())
	for i := range stored {
		d.load(&stored[i])
	}
	if err := d.flush(d.m.takeGone()); err != nil {
		return nil, err
	}
	d.register()
	return d, nil
}

// load takes up a stored lease. Several of one name stay: they may be of as many processes, and what a crash left of one that had ended expires.
func (d *Desk) load(s *catalog.Lease) {
	l := d.m.add(leaseOf(s))
	if !d.cfg.TopicExists(l.TopicID) {
		d.m.end(l, topicDeleted)
	}
}

func leaseOf(s *catalog.Lease) Lease {
	return Lease{ID: s.ID, Position: -1, ExpiryMs: s.ExpiryMs, Terms: Terms{Topic: s.Topic, TopicID: s.TopicID, Partition: s.Partition,
		Incarnation: s.Incarnation, Replica: s.Replica, Cut: s.Cut, Since: s.Since, From: s.From}}
}

func (l *Lease) stored() *catalog.Lease {
	return &catalog.Lease{ID: l.ID, TopicID: l.TopicID, Partition: l.Partition, Incarnation: l.Incarnation, Cut: l.Cut, Since: l.Since, From: l.From,
		ExpiryMs: l.ExpiryMs, Topic: l.Topic, Replica: l.Replica}
}

func (d *Desk) nowMs() int64 { return d.cfg.Now().UnixMilli() }

// enter begins a call: what has expired by now has ended.
func (d *Desk) enter() (leave func()) {
	d.mu.Lock()
	d.m.advance(d.nowMs())
	return d.mu.Unlock
}

// Grant adds a lease that holds from now on. It is not durable before Persist. Errors: ErrTooMany, that of the random source.
func (d *Desk) Grant(terms Terms) (Lease, error) {
	var id ID
	if _, err := io.ReadFull(d.cfg.Random, id[:]); err != nil {
		return Lease{}, fmt.Errorf("random source: %w", err)
	}
	defer d.enter()()
	l, err := d.m.grant(id, terms)
	if err != nil {
		return Lease{}, fmt.Errorf("%w: %d are out", err, len(d.m.leases))
	}
	d.granted.Inc()
	return l, nil
}

// Persist makes a grant durable. If that fails the lease has ended. Errors: why it has ended meanwhile, and the store's.
func (d *Desk) Persist(l Lease) error {
	leave := d.enter()
	_, err := d.m.find(l.ID)
	gone := d.m.takeGone()
	leave()
	if err != nil {
		return errors.Join(err, d.flush(gone))
	}
	if err := d.cfg.Store.PutLease(l.stored(), gone...); err != nil {
		defer d.enter()()
		d.m.gone = append(d.m.gone, gone...)
		return errors.Join(err, d.m.stop(l.ID, expired))
	}
	return d.change(func() error {
		_, err := d.m.find(l.ID)
		if err != nil { // while it was written: it may have been removed before it was there
			d.m.gone = append(d.m.gone, l.ID)
		}
		return err
	})
}

// Renew gives a lease its full time again. position: everything below is applied; -1: nothing is yet.
// Errors: ErrExpired, ErrRevoked, ErrTopicDeleted, and the store's.
func (d *Desk) Renew(id ID, position int64) (l Lease, err error) {
	err = d.change(func() error {
		l, err = d.m.renew(id, position)
		return err
	})
	return l, err
}

// Release ends a lease that its replica needs no longer. Errors: as Renew.
func (d *Desk) Release(id ID) error {
	return d.change(func() error { return d.m.stop(id, released) })
}

// Revoke ends a lease because what it holds is needed, or is not there. Errors: as Renew.
func (d *Desk) Revoke(id ID) error {
	return d.change(func() error { return d.m.stop(id, revoked) })
}

// DropTopic ends the leases of a topic that is deleted. Error: the store's.
func (d *Desk) DropTopic(topicID [16]byte) error {
	return d.change(func() error {
		d.m.dropTopic(topicID)
		return nil
	})
}

// Lost ends the leases on frames of a partition, all of which are gone: their replicas ask again. Who has passed the cut of his goes on, since the
// log has everything. Error: the store's.
func (d *Desk) Lost(topicID [16]byte, partition int32) error {
	return d.change(func() error {
		for _, l := range d.m.lose(partitionKey{topicID, partition}) {
			d.cfg.Logger.Warn("a lease is revoked: its frame is gone, as rows were damaged", "topic", l.Topic, "partition", partition, "replica", l.Replica, "cut", l.Cut)
		}
		return nil
	})
}

// change runs one event and removes from the store what has ended.
func (d *Desk) change(event func() error) error {
	leave := d.enter()
	err := event()
	gone := d.m.takeGone()
	leave()
	return errors.Join(err, d.flush(gone))
}

// flush removes leases from the store; what it cannot remove the next call tries again.
func (d *Desk) flush(gone []ID) error {
	if len(gone) == 0 {
		return nil
	}
	err := d.cfg.Store.DropLeases(gone...)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.m.gone = append(d.m.gone, gone...)
	}
	return err
}

// Held returns what is held of a partition: raw deltas from from on, tombstones from since on (math.MaxInt64: none), and frames, by their
// cuts, ascending.
func (d *Desk) Held(topicID [16]byte, partition int32) (from, since int64, cuts []int64) {
	defer d.enter()()
	return d.m.hold(partitionKey{topicID, partition})
}

// Leases returns those that are out.
func (d *Desk) Leases() (list []Lease) {
	defer d.enter()()
	for _, l := range d.m.leases {
		list = append(list, l.Lease)
	}
	return list
}

// register shows how many leases there are, and how they end.
func (d *Desk) register() {
	d.granted = prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_leases_granted_total", Help: "Leases granted to replicas."})
	if d.cfg.Metrics != nil {
		d.cfg.Metrics.MustRegister(d.granted, &collector{d})
	}
}
