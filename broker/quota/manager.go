package quota

import (
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Store keeps quotas; *catalog.Catalog is one.
type Store interface {
	Quotas() ([]catalog.Quotas, error)
	PutQuotas([]catalog.Quotas) error
}

// Config of a Manager. Store is required.
type Config struct {
	Store    Store
	Settings Settings
	Now      func() time.Time
	Logger   *slog.Logger
	Metrics  prometheus.Registerer // nil: not registered
}

// Settings are the quotas of the broker's own configuration; 0 is none. Client quotas that are set through the protocol come before those
// of each client id and address; the bounds of a connection hold beside all others.
type Settings struct {
	ProducerByteRate       float64 // of each client id: bytes of produce requests a second
	ConsumerByteRate       float64 // bytes of fetch responses a second
	RequestPercentage      float64 // percent of the time of one thread
	ControllerMutationRate float64 // partitions created and deleted a second
	ConnectionCreationRate float64 // of each address: connections a second

	ConnectionByteRate    float64 // of each connection: bytes received and sent a second
	ConnectionRequestRate float64 // requests a second
}

// Validate says which of them cannot be.
func (s Settings) Validate() error {
	for name, v := range map[string]float64{"producer byte rate": s.ProducerByteRate, "consumer byte rate": s.ConsumerByteRate,
		"request percentage": s.RequestPercentage, "controller mutation rate": s.ControllerMutationRate, "connection creation rate": s.ConnectionCreationRate,
		"byte rate of a connection": s.ConnectionByteRate, "request rate of a connection": s.ConnectionRequestRate} {
		if !(v >= 0) {
			return fmt.Errorf("quotas: %s of %g: not below 0", name, v)
		}
	}
	return nil
}

// Client is who a request comes from.
type Client struct{ User, ID string }

// Manager knows all quotas and counts what they bound. Its methods are safe for concurrent use. Where there is no quota it counts nothing.
type Manager struct {
	cfg     Config
	metrics *metrics
	table   atomic.Pointer[table]
	change  chan struct{} // one place: one change at a time, held across a sync

	mu      sync.Mutex
	meters  map[meterKey]*meter
	sweep   int   // meters at which those that are as new are dropped
	sweptMs int64 // when that was last looked for
}

// meter counts what one client, or those that share a quota, took.
type meter struct {
	mu     sync.Mutex
	rate   Rate
	bucket Bucket
	newMs  int64 // from then on it is as new: all that it has counted is over
}

// metersMax bounds the memory: client ids are any text that a client likes. Beyond it, new ones of a kind share one meter.
const (
	metersSweep = 1024
	metersMax   = 1 << 16
)

// Open loads the quotas. Errors: the store's.
func Open(cfg Config) (*Manager, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m := &Manager{cfg: cfg, change: make(chan struct{}, 1), meters: map[meterKey]*meter{}, sweep: metersSweep}
	all, err := cfg.Store.Quotas()
	if err != nil {
		return nil, err
	}
	entities := map[catalog.QuotaEntity][]catalog.Quota{}
	for _, q := range all {
		entities[q.Entity] = q.Values
	}
	s := cfg.Settings
	m.table.Store(newTable(entities, [kinds]float64{Produce: s.ProducerByteRate, Fetch: s.ConsumerByteRate, Request: s.RequestPercentage,
		Mutation: s.ControllerMutationRate, Connection: s.ConnectionCreationRate}))
	m.metrics = newMetrics(cfg.Metrics)
	return m, nil
}

func (m *Manager) nowMs() int64 { return m.cfg.Now().UnixMilli() }

// Bounds reports whether there is any quota of the kind.
func (m *Manager) Bounds(kind Kind) bool { return m.table.Load().any[kind] }

// BoundsAny reports whether there is any quota at all, or a bound of connections.
func (m *Manager) BoundsAny() bool {
	return m.table.Load().any != [kinds]bool{} || m.BoundsConnections()
}

// Record counts what a client took, and returns how long it has to wait now.
func (m *Manager) Record(kind Kind, c Client, value float64) time.Duration {
	limit, key, ok := m.table.Load().find(kind, c)
	if !ok {
		return 0
	}
	wait := m.record(key, limit, value)
	if kind == Request {
		wait = min(wait, requestWaitMax*time.Millisecond)
	}
	return wait
}

// Unrecord takes back what Record counted: it was not given after all.
func (m *Manager) Unrecord(kind Kind, c Client, value float64) {
	if _, key, ok := m.table.Load().find(kind, c); ok {
		mt, nowMs := m.meter(key)
		defer mt.mu.Unlock()
		mt.rate.Record(-value, nowMs)
	}
}

func (m *Manager) record(key meterKey, limit, value float64) time.Duration {
	mt, nowMs := m.meter(key)
	defer mt.mu.Unlock()
	mt.rate.Record(value, nowMs)
	return mt.rate.Wait(limit, nowMs)
}

// Most is the most that a client may take at once: all that its quota gives in the windows. ok is false where there is no quota.
func (m *Manager) Most(kind Kind, c Client) (most float64, ok bool) {
	limit, _, ok := m.table.Load().find(kind, c)
	return limit * (windows - 1) * windowMs / 1000, ok
}

// Mutate takes n changes of a client. strict (KIP-599) takes none when the client is over its bound: false, and wait is when to come again.
// Others are taken in any case, and the client has to wait afterwards.
func (m *Manager) Mutate(c Client, n int, strict bool) (taken bool, wait time.Duration) {
	limit, key, ok := m.table.Load().find(Mutation, c)
	if !ok {
		return true, 0
	}
	mt, nowMs := m.meter(key)
	defer mt.mu.Unlock()
	taken = mt.bucket.Take(float64(n), limit, strict, nowMs)
	mt.newMs = max(mt.newMs, mt.bucket.FullMs(limit))
	if taken && strict {
		return true, 0
	}
	return taken, mt.bucket.Wait(limit, nowMs)
}

// Connect counts a connection from an address. One that comes too early is refused, and not counted: it is to be closed after the wait.
func (m *Manager) Connect(address string) (wait time.Duration, ok bool) {
	limit, key, bounded := m.table.Load().findIP(address)
	if !bounded {
		return 0, true
	}
	mt, nowMs := m.meter(key)
	defer mt.mu.Unlock()
	mt.rate.Record(1, nowMs)
	wait = min(mt.rate.Wait(limit, nowMs), windowMs*time.Millisecond)
	if wait == 0 {
		return 0, true
	}
	mt.rate.Record(-1, nowMs)
	m.metrics.throttled(Connection.Key(), wait)
	return wait, false
}

// Throttled notes that a client is left alone for a time because of a quota.
func (m *Manager) Throttled(kind Kind, wait time.Duration) { m.metrics.throttled(kind.Key(), wait) }

// meter returns a meter, locked, and the time.
func (m *Manager) meter(key meterKey) (*meter, int64) {
	nowMs := m.nowMs()
	m.mu.Lock()
	defer m.mu.Unlock()
	mt := m.meters[key]
	if mt == nil {
		// Where there are as many as there may be it is looked for room once a window: new client ids come as fast as a client likes.
		if len(m.meters) >= m.sweep && (len(m.meters) < metersMax || nowMs-m.sweptMs >= windowMs) {
			m.sweepLocked(nowMs)
		}
		if len(m.meters) >= metersMax {
			key = meterKey{kind: key.kind}
		}
		if mt = m.meters[key]; mt == nil {
			mt = &meter{}
			m.meters[key] = mt
		}
	}
	mt.mu.Lock()
	mt.newMs = max(mt.newMs, nowMs+windows*windowMs)
	return mt, nowMs
}

// sweepLocked drops the meters that are as new.
func (m *Manager) sweepLocked(nowMs int64) {
	maps.DeleteFunc(m.meters, func(_ meterKey, mt *meter) bool {
		mt.mu.Lock()
		defer mt.mu.Unlock()
		return nowMs > mt.newMs
	})
	m.sweep, m.sweptMs = min(max(metersSweep, 2*len(m.meters)), metersMax), nowMs
}
