package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/broker/replicas"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Broker is a running server.
type Broker struct {
	cfg     Config
	metrics *prometheus.Registry

	epoch     int32 // leader epoch of this run
	dir       *engine.Dir
	catalog   *catalog.Catalog
	log       *log.Store
	tables    *table.DB
	topics    *topics.Registry
	configs   *configs.Store
	groups    *group.Coordinator
	txns      *txn.Coordinator
	quotas    *quota.Manager
	keyframer *keyframer.Keyframer
	repairs   *repair.Desk
	replicas  *replicas.Registry
	leases    *lease.Desk
	wire      *wire.Server
	state     *state.Server

	kafkaListener net.Listener
	stateListener net.Listener
	serving       sync.WaitGroup
	closers       []func() error // in the order of opening
	close         sync.Once
	closeErr      error
}

// Start opens the data directory and serves until Close. Everything that was acknowledged before a crash is there.
// Errors: ErrConfig, engine's (ErrLocked, ErrVersion, ErrKind, ErrNotADataDir, ErrDiskFull), those of the listeners.
func Start(ctx context.Context, cfg Config) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.IntervalMemoryBytes == 0 {
		cfg.IntervalMemoryBytes = intervalMemory(processMemory())
	}
	began := cfg.Now()
	b := &Broker{cfg: cfg, metrics: prometheus.NewRegistry()}
	b.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, open := range []func(context.Context) error{b.listen, b.openStorage, b.openTopics, b.openPlanes} {
		if err := open(ctx); err != nil {
			return nil, errors.Join(err, b.Close())
		}
	}
	b.serve()
	cfg.Logger.Info("serving", "kafka_addr", b.KafkaAddr().String(), "state_addr", b.StateAddr().String(), "data_dir", cfg.DataDir,
		"interval_memory_mib", cfg.IntervalMemoryBytes>>20, "topics", len(b.topics.List()), "took", cfg.Now().Sub(began).Round(time.Millisecond/10).String())
	return b, nil
}

// opened registers what Close has to close, last first.
func (b *Broker) opened(closer func() error) { b.closers = append(b.closers, closer) }

// listen comes first: a port that is taken is the cheapest failure. Connections wait in the backlog until the broker serves.
func (b *Broker) listen(ctx context.Context) (err error) {
	var config net.ListenConfig
	if b.kafkaListener, err = config.Listen(ctx, "tcp", b.cfg.KafkaAddr); err != nil {
		return fmt.Errorf("Kafka protocol: %w", err)
	}
	b.opened(func() error { return ignoreClosed(b.kafkaListener.Close()) })
	if b.stateListener, err = config.Listen(ctx, "tcp", b.cfg.StateAddr); err != nil {
		return fmt.Errorf("state plane: %w", err)
	}
	b.opened(func() error { return ignoreClosed(b.stateListener.Close()) })
	return nil
}

// ignoreClosed drops the complaint about a listener that its server has closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (b *Broker) openStorage(context.Context) (err error) {
	c := b.cfg
	b.dir, err = engine.OpenDir(engine.Config{Dir: c.DataDir, FS: vfs.Default, Logger: c.Logger, Now: c.Now, Fatal: c.Fatal, MemTableBytes: c.MemTableBytes})
	if err != nil {
		return err
	}
	b.opened(b.dir.Close)
	b.metrics.MustRegister(&storageMetrics{b.dir})
	logDB, err := b.dir.OpenLogDB()
	if err != nil {
		return err
	}
	tableDB, tableOptions, err := b.dir.OpenTableDB()
	if err != nil {
		return err
	}
	if b.catalog, err = catalog.Open(logDB, c.Now, rand.Reader); err != nil {
		return err
	}
	b.catalog.SetReserve(b.dir.Reserve())
	if b.epoch, err = b.catalog.BeginEpoch(); err != nil {
		return err
	}
	b.log, err = log.Open(log.Config{DB: logDB, Now: c.Now, Logger: c.Logger, Reserve: b.dir.Reserve(), Blobs: b.dir, Fatal: b.dir.Fatal, LeaderEpoch: b.epoch,
		TailBytes: cacheBytes(c.TailCacheBytes)})
	if err != nil {
		return err
	}
	b.opened(b.log.Close)
	b.tables, err = table.Open(table.Config{DB: tableDB, Options: tableOptions, FS: vfs.Default, Dir: vfs.Default.PathJoin(c.DataDir, "ingest"),
		Now: c.Now, Logger: c.Logger})
	if err != nil {
		return err
	}
	b.opened(b.tables.Close)
	return nil
}

// cacheBytes turns the setting's 0, no cache, into the log's.
func cacheBytes(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

func (b *Broker) openTopics(ctx context.Context) (err error) {
	c := b.cfg
	b.topics, err = topics.Open(topics.Options{Catalog: b.catalog, Log: b.log, Folds: c.Folds, Partitions: c.DefaultPartitions, Now: c.Now, Logger: c.Logger})
	if err != nil {
		return err
	}
	b.opened(b.topics.Close)
	b.configs, err = configs.Open(ctx, configs.Options{Catalog: b.catalog, Registry: b.topics, Static: b.staticConfigs(), LogLevel: c.LogLevel, Logger: c.Logger})
	if err != nil {
		return err
	}
	b.leases, err = lease.Open(lease.Config{Store: b.catalog, Now: c.Now, Random: rand.Reader, Logger: c.Logger, Metrics: b.metrics,
		TopicExists: func(id [16]byte) bool { _, ok := b.catalog.ByID(id); return ok },
		Bytes: func(ctx context.Context, topicID [16]byte, partition int32, from int64) (int64, error) {
			return b.keyframer.BytesFrom(ctx, topicID, partition, from)
		},
		Full: func() bool { return b.dir.Reserve().State().Full }})
	if err != nil {
		return err
	}
	b.keyframer = keyframer.New(keyframer.Config{
		Tables: b.tables, Holds: b.leases, MemoryBytes: c.IntervalMemoryBytes, ScrubRows: c.ScrubRows, Now: c.Now, Logger: c.Logger, Metrics: b.metrics,
	})
	b.opened(b.keyframer.Close)
	b.topics.AddHooks(topics.Hooks{Deleted: func(t *topics.Topic) {
		if err := b.leases.DropTopic(t.ID); err != nil {
			c.Logger.Error("the leases of a deleted topic stay in the catalog until the next change", "topic", t.Name, "error", err)
		}
	}})
	b.topics.AddHooks(b.keyframer.Hooks())
	b.replicas, err = replicas.Open(replicas.Config{Find: replicas.In(b.keyframer), Store: b.catalog, Now: c.Now, Logger: c.Logger, Metrics: b.metrics})
	if err != nil {
		return err
	}
	b.topics.AddHooks(topics.Hooks{Deleted: func(t *topics.Topic) { b.replicas.DropTopic(t.ID) }})
	if err := b.keyframer.Sweep(ctx, b.catalog); err != nil {
		return err
	}
	b.groups, err = group.Open(group.Config{Settings: c.Groups, Store: b.catalog, Now: c.Now, Rand: rand.Reader, Logger: c.Logger, Metrics: b.metrics,
		Topics: kafka.GroupTopics(b.topics), GroupConfig: b.configs.Group, TopicExists: b.topicExists})
	if err != nil {
		return err
	}
	b.opened(b.groups.Close)
	b.topics.AddHooks(topics.Hooks{Deleted: func(t *topics.Topic) { b.groups.DropTopic(t.Name) }})
	return b.openTransactions()
}

func (b *Broker) openTransactions() (err error) {
	c := b.cfg
	markers := txn.Log{Store: b.log, Epoch: b.epoch, Find: func(topic string, index int32) (*log.Partition, bool) {
		if t, ok := b.topics.Get(topic); ok {
			if p := t.Partition(index); p != nil {
				return p.Log, true
			}
		}
		return nil, false
	}}
	b.txns, err = txn.Open(txn.Config{Settings: c.Transactions, Store: b.catalog, Markers: markers, Groups: b.groups, Admit: b.dir.Reserve().Admit,
		Now: c.Now, Logger: c.Logger, Metrics: b.metrics})
	if err != nil {
		return err
	}
	b.opened(b.txns.Close)
	return nil
}

func (b *Broker) openPlanes(context.Context) (err error) {
	c := b.cfg
	if b.quotas, err = quota.Open(quota.Config{Store: b.catalog, Settings: c.Quotas, Now: c.Now, Logger: c.Logger, Metrics: b.metrics}); err != nil {
		return err
	}
	host, port := c.advertised()
	if c.listensEverywhere() {
		c.Logger.Warn("clients on other machines are told to connect to localhost, which is theirs: set advertised-addr", "kafka_addr", c.KafkaAddr)
	}
	handler := kafka.New(kafka.Config{
		Registry: b.topics, Configs: b.configs, Producers: b.catalog, Groups: b.groups, Transactions: b.txns, Log: b.log, Quotas: b.quotas, Rows: b.keyframer,
		AdvertisedHost: host, AdvertisedPort: port, ClusterID: b.catalog.ClusterID(), LeaderEpoch: b.epoch,
		LogDir:       kafka.LogDir{Path: absolute(c.DataDir), Volume: b.volume},
		NoAutoCreate: !c.AutoCreateTopics, Now: c.Now, Logger: c.Logger, Metrics: b.metrics,
	})
	b.wire = wire.New(wire.Config{Handler: handler, Admit: b.admitConnection, MaxConnections: c.MaxConnections, MaxConnsPerIP: c.MaxConnectionsPerIP,
		IdleTimeout: c.ConnectionIdleTimeout, Now: c.Now, Logger: c.Logger, Metrics: b.metrics})
	b.repairs = repair.NewDesk(repair.Config{Disputed: b.replicas.Disputed, Now: c.Now, Logger: c.Logger, Metrics: b.metrics})
	b.opened(b.repairs.Close)
	stateHost, _, _ := splitAddr(c.StateAddr)
	b.state = state.New(state.Config{
		Keyframer:   b.keyframer,
		Replicas:    b.replicas,
		Leases:      b.leases,
		TopicExists: b.topicExists,
		Repairs:     b.repairs,
		Hosts:       []string{stateHost},
		Ready:       []state.Check{{Name: "disk", Check: func() error { return b.dir.Reserve().Admit(0) }}},
		Gather:      b.metrics, Metrics: b.metrics, Now: c.Now, Logger: c.Logger,
	})
	return nil
}

// absolute is the path as others see it.
func absolute(dir string) string {
	if path, err := filepath.Abs(dir); err == nil {
		return path
	}
	return dir
}

// volume is the size of the volume that the data directory is on, and what is free of it, in bytes; -1 where the system does not say.
func (b *Broker) volume() (total, free int64) {
	usage, err := vfs.Default.GetDiskUsage(b.cfg.DataDir)
	if err != nil {
		return -1, -1
	}
	return int64(usage.TotalBytes), int64(usage.AvailBytes)
}

// serve starts the two accept loops.
func (b *Broker) serve() {
	b.serving.Go(func() {
		if err := b.wire.Serve(b.kafkaListener); !errors.Is(err, wire.ErrServerClosed) {
			b.cfg.Logger.Error("the Kafka protocol is no longer served", "error", err)
		}
	})
	b.serving.Go(func() {
		if err := b.state.Serve(b.stateListener); err != nil {
			b.cfg.Logger.Error("the state plane is no longer served", "error", err)
		}
	})
	b.state.SetReady()
	b.opened(b.drain)
}

// drain lets the answers in work go out, and waits for the accept loops.
func (b *Broker) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), b.cfg.DrainTimeout)
	defer cancel()
	var wireErr, stateErr error
	var both sync.WaitGroup
	both.Go(func() { wireErr = b.wire.Close(ctx) })
	both.Go(func() { stateErr = b.state.Shutdown(ctx) })
	both.Wait()
	b.serving.Wait()
	return errors.Join(wireErr, stateErr)
}

// Close stops serving, lets the answers in work go out, and closes the data directory. It waits for every goroutine.
func (b *Broker) Close() error {
	b.close.Do(func() {
		var errs []error
		for i := len(b.closers) - 1; i >= 0; i-- {
			errs = append(errs, b.closers[i]())
		}
		b.closeErr = errors.Join(errs...)
	})
	return b.closeErr
}

// admitConnection holds an address to its connection_creation_rate.
func (b *Broker) admitConnection(remote net.Addr) (closeAfter time.Duration, ok bool) {
	if !b.quotas.Bounds(quota.Connection) {
		return 0, true
	}
	host, _, err := net.SplitHostPort(remote.String())
	if err != nil {
		host = remote.String()
	}
	return b.quotas.Connect(host)
}

func (b *Broker) topicExists(name string) bool {
	_, ok := b.topics.Get(name)
	return ok
}

// KafkaAddr and StateAddr are where the broker listens.
func (b *Broker) KafkaAddr() net.Addr { return b.kafkaListener.Addr() }

// StateAddr is the address of the state plane.
func (b *Broker) StateAddr() net.Addr { return b.stateListener.Addr() }
