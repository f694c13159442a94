package kafka_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// broker is what a test talks to: one in this process, whose insides it may touch. What any Kafka broker must answer is tested in
// broker/conformance.
type broker struct {
	raw.Broker
	registry *topics.Registry
	configs  *configs.Store
	catalog  *catalog.Catalog
	store    *log.Store
	keyframe *keyframer.Keyframer // nil unless options asked for it
	metrics  *prometheus.Registry // of the keyframer
}

// options change the broker of one test.
type options struct {
	kafka  func(*kafka.Config)
	topics func(*topics.Options)
	fs     vfs.FS       // a database to go on with
	keyed  bool         // key-framed topics are folded
	full   *atomic.Bool // the disk is
}

// startOwn gives a test a broker in this process.
func startOwn(t testing.TB, o options) *broker {
	t.Helper()
	if o.fs == nil {
		o.fs = vfs.NewMem()
	}
	b := &broker{}
	db, err := pebble.Open("log", &pebble.Options{FS: o.fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	b.catalog, err = catalog.Open(db, time.Now, rand.Reader)
	require.NoError(t, err)
	if o.full != nil {
		b.catalog.SetReserve(fullDisk{o.full})
	}
	epoch, err := b.catalog.BeginEpoch()
	require.NoError(t, err)
	b.store, err = log.Open(log.Config{DB: db, LeaderEpoch: epoch})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.store.Close()) })
	topicOptions := topics.Options{Catalog: b.catalog, Log: b.store, RetentionCheck: -1}
	if o.topics != nil {
		o.topics(&topicOptions)
	}
	b.registry, err = topics.Open(topicOptions)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.registry.Close()) })
	b.configs, err = configs.Open(t.Context(), configs.Options{Catalog: b.catalog, Registry: b.registry})
	require.NoError(t, err)
	cfg := kafka.Config{Registry: b.registry, Configs: b.configs, Producers: b.catalog, Log: b.store, ClusterID: b.catalog.ClusterID(), LeaderEpoch: epoch, AdvertisedHost: "127.0.0.1"}
	if o.keyed {
		b.fold(t)
		cfg.Rows = b.keyframe
	}
	if o.kafka != nil {
		o.kafka(&cfg)
	}
	b.serve(t, kafka.New(cfg))
	return b
}

// fold starts a keyframer over the broker's topics.
func (b *broker) fold(t testing.TB) {
	fs := vfs.NewMem()
	dir, err := engine.OpenDir(engine.Config{Dir: "tables", FS: fs})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dir.Close()) })
	db, tableOptions, err := dir.OpenTableDB()
	require.NoError(t, err)
	tables, err := table.Open(table.Config{DB: db, Options: tableOptions, FS: fs, Dir: "tables/ingest"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tables.Close()) })
	b.metrics = prometheus.NewRegistry()
	b.keyframe = keyframer.New(keyframer.Config{Tables: tables, Metrics: b.metrics})
	t.Cleanup(func() { require.NoError(t, b.keyframe.Close()) })
	b.registry.AddHooks(b.keyframe.Hooks())
}

func (b *broker) serve(t testing.TB, h *kafka.Handler) {
	server := wire.New(wire.Config{Handler: h})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	b.Addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, server.Close(ctx))
		require.ErrorIs(t, <-served, wire.ErrServerClosed)
	})
}

// fullDisk is the reserve of a disk that a test fills.
type fullDisk struct{ full *atomic.Bool }

func (d fullDisk) Admit(int) error {
	if d.full.Load() {
		return &engine.DiskFullError{}
	}
	return nil
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
