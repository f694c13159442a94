package kafka_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/keyframer"
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
	addr     string
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
	cfg := kafka.Config{Registry: b.registry, Configs: b.configs, Producers: b.catalog, ClusterID: b.catalog.ClusterID(), LeaderEpoch: epoch, AdvertisedHost: "127.0.0.1"}
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
	b.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
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

// conn speaks raw requests.
type conn struct {
	t testing.TB
	net.Conn
	correlation int32
}

func (b *broker) dial(t testing.TB) *conn {
	t.Helper()
	c, err := net.Dial("tcp", b.addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(60*time.Second)))
	return &conn{t: t, Conn: c}
}

// send writes a request and returns its correlation id.
func (c *conn) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.correlation++
	_, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, c.correlation))
	require.NoError(c.t, err)
	return c.correlation
}

// receive reads the answer to a request that was sent.
func (c *conn) receive(req kmsg.Request) (kmsg.Response, int32) {
	c.t.Helper()
	resp, id, err := c.tryReceive(req)
	require.NoError(c.t, err)
	return resp, id
}

func (c *conn) tryReceive(req kmsg.Request) (kmsg.Response, int32, error) {
	c.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, 0, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, 0, err
	}
	resp := req.ResponseKind()
	if req.Key() != 18 && resp.IsFlexible() {
		require.Zero(c.t, body[0])
		body = body[1:]
	}
	require.NoError(c.t, resp.ReadFrom(body))
	return resp, int32(binary.BigEndian.Uint32(head[4:])), nil
}

// do sends a request and returns its answer.
func do[R kmsg.Response](c *conn, req kmsg.Request) R {
	c.t.Helper()
	id := c.send(req)
	resp, got := c.receive(req)
	require.Equal(c.t, id, got)
	return resp.(R)
}

var names atomic.Int64

// topicName is a name that no other test or run uses, as the broker may outlive the test.
func topicName(t testing.TB) string {
	return fmt.Sprintf("%s-%d-%d", strings.NewReplacer("/", "-", ",", "-").Replace(t.Name()), time.Now().UnixNano(), names.Add(1))
}

// topic is a topic that createTopic made.
type topic struct {
	name string
	id   [16]byte
}

// createTopic creates a topic, with configs as name, value, name, value; and waits until it can be used.
func createTopic(c *conn, partitions int32, configs ...string) topic {
	c.t.Helper()
	return createNamed(c, topicName(c.t), partitions, configs...)
}

func createNamed(c *conn, name string, partitions int32, configs ...string) topic {
	c.t.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	req.Topics = append(req.Topics, rt)
	resp := do[*kmsg.CreateTopicsResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	requireCode(c.t, 0, resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
	made := topic{name, resp.Topics[0].TopicID}
	require.Eventually(c.t, func() bool {
		mt := describe(c, name)
		for _, p := range mt.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
		return mt.ErrorCode == 0 && len(mt.Partitions) == int(max(partitions, 1)) && canRead(c, made)
	}, 10*time.Second, time.Millisecond)
	return made
}

// canRead waits for what follows a leader's election.
func canRead(c *conn, t topic) bool {
	for i := range describe(c, t.name).Partitions {
		if listOffset(c, t, int32(i), -1).ErrorCode != 0 {
			return false
		}
	}
	return true
}

// describe returns one topic's metadata, without creating it.
func describe(c *conn, name string) kmsg.MetadataResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	resp := do[*kmsg.MetadataResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	return resp.Topics[0]
}

func requireCode(t testing.TB, want, got int16, message *string) {
	t.Helper()
	text := ""
	if message != nil {
		text = *message
	}
	require.Equal(t, want, got, text)
}
