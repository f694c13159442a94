package state_test

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/broker/replicas"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/fold"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type clock struct{ ms atomic.Int64 }

func (c *clock) Now() time.Time { return time.UnixMilli(c.ms.Load()) }

// node is a state plane on loopback over logs in memory.
type node struct {
	t      *testing.T
	clock  *clock
	k      *keyframer.Keyframer
	pdb    *pebble.DB // of the tables
	server *state.Server
	url    string
	http   *http.Client
	client stateconnect.StateServiceClient
	logs   []*memlog.Log

	fs       vfs.FS
	settings keyframer.Settings
	closers  []func() // of this run, last first
	catalog  *catalog.Catalog
	leases   *lease.Desk
	tables   *table.DB
	registry *prometheus.Registry
	limits   func(*lease.Config) // of leases; nil: those of fold
	slow     sync.RWMutex        // locked: creating an sstable waits, and with it every fold
}

const topicName = "files"

// spec is of a topic with that many partitions, whose logs are made where there are none.
func (n *node) spec(partitions int) keyframer.TopicSpec {
	spec := keyframer.TopicSpec{Name: topicName, ID: [16]byte{7}, Fold: fold.LastValue}
	for i := range partitions {
		if i == len(n.logs) {
			n.logs = append(n.logs, memlog.New(n.clock.Now))
		}
		spec.Partitions = append(spec.Partitions, keyframer.PartitionSpec{
			Index: int32(i), Ordinal: uint32(i + 1), Incarnation: [16]byte{byte(i), 1}, Log: n.logs[i],
		})
	}
	return spec
}

func newNode(t *testing.T, partitions int, configure func(*state.Config)) *node {
	return newLimitedNode(t, partitions, nil, configure)
}

// newLimitedNode is newNode with other limits of leases.
func newLimitedNode(t *testing.T, partitions int, limits func(*lease.Config), configure func(*state.Config)) *node {
	n := &node{t: t, clock: &clock{}, fs: vfs.NewMem(), settings: calm(), limits: limits}
	n.clock.ms.Store(1_000_000)
	t.Cleanup(n.stop)
	n.start(partitions, configure)
	return n
}

// start starts a broker on what an earlier one has left.
func (n *node) start(partitions int, configure func(*state.Config)) {
	t := n.t
	dir, err := engine.OpenDir(engine.Config{Dir: "data", FS: n.fs, Fatal: func(msg string) { panic(msg) }})
	require.NoError(t, err)
	n.onStop(func() { require.NoError(t, dir.Close()) })
	var options *pebble.Options
	n.pdb, options, err = dir.OpenTableDB()
	require.NoError(t, err)
	fs := errorfs.Wrap(options.FS, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			n.slow.RLock()
			defer n.slow.RUnlock()
		}
		return nil
	}))
	tables, err := table.Open(table.Config{DB: n.pdb, Options: options, FS: fs, Dir: "data/ingest", Now: n.clock.Now})
	require.NoError(t, err)
	n.onStop(func() { require.NoError(t, tables.Close()) })
	registry := prometheus.NewRegistry()
	n.tables, n.registry = tables, registry
	cdb, err := pebble.Open("catalog", &pebble.Options{FS: n.fs})
	require.NoError(t, err)
	n.onStop(func() { require.NoError(t, cdb.Close()) })
	n.catalog, err = catalog.Open(cdb, n.clock.Now, rand.Reader)
	require.NoError(t, err)
	n.fold(partitions, n.settings)
	n.onStop(func() { require.NoError(t, n.k.Close()) })
	config := n.config(registry)
	config.Gather, config.TopicExists = registry, func(name string) bool { return name == "plain" }
	if configure != nil {
		configure(&config)
	}
	n.serve(config)
}

// config is of a state plane over the keyframer and the leases that there are.
func (n *node) config(metrics prometheus.Registerer) state.Config {
	registry, err := replicas.Open(replicas.Config{Find: replicas.In(n.k), Store: n.catalog, Now: n.clock.Now, Metrics: metrics})
	require.NoError(n.t, err)
	desk := repair.NewDesk(repair.Config{Now: n.clock.Now, Metrics: metrics, Disputed: registry.Disputed})
	n.onStop(func() { require.NoError(n.t, desk.Close()) })
	return state.Config{Keyframer: n.k, Replicas: registry, Repairs: desk, Leases: n.leases, Metrics: metrics, Now: n.clock.Now,
		WaitTimeout: time.Minute, StallTime: time.Minute, Alive: time.Minute}
}

func (n *node) onStop(fn func()) { n.closers = append(n.closers, fn) }

func (n *node) stop() {
	for ; len(n.closers) > 0; n.closers = n.closers[:len(n.closers)-1] {
		n.closers[len(n.closers)-1]()
	}
}

// fold begins to fold the logs over the tables that there are, as at a start.
func (n *node) fold(partitions int, settings keyframer.Settings) {
	limits := lease.Config{Store: n.catalog, Now: n.clock.Now, LeaseBytesMax: leaseBytesMax,
		Bytes: func(ctx context.Context, topicID [16]byte, partition int32, from int64) (int64, error) {
			return n.k.BytesFrom(ctx, topicID, partition, from)
		}}
	if n.limits != nil {
		n.limits(&limits)
	}
	var err error
	n.leases, err = lease.Open(limits)
	require.NoError(n.t, err)
	n.k = keyframer.New(keyframer.Config{Tables: n.tables, Holds: n.leases, Now: n.clock.Now, Metrics: n.registry})
	require.NoError(n.t, n.k.Add(n.spec(partitions), settings))
}

// leaseBytesMax is what one lease may hold up.
const leaseBytesMax = 1 << 20

func calm() keyframer.Settings {
	return keyframer.Settings{Retain: 100, DeltaRetentionMs: -1, DeltaRetentionBytes: -1, DeleteRetentionMs: -1, RetentionMs: -1, RetentionBytes: -1}
}

func (n *node) serve(config state.Config) {
	t := n.t
	server := state.New(config)
	n.server = server
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	n.url = "http://" + listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	transport := &http.Transport{DisableCompression: true}
	n.http = &http.Client{Transport: transport, Timeout: time.Minute}
	n.client = stateconnect.NewStateServiceClient(n.http, n.url)
	n.onStop(func() {
		transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, <-served)
	})
}

func (n *node) cut() *api.CutResponse {
	n.t.Helper()
	answer, err := n.client.Cut(context.Background(), connect.NewRequest(&api.CutRequest{Topic: topicName}))
	require.NoError(n.t, err)
	return answer.Msg
}

func (n *node) get(m *api.GetRequest) (*api.GetResponse, error) {
	m.Topic = topicName
	answer, err := n.client.Get(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return answer.Msg, nil
}

// scan collects a scan.
func (n *node) scan(m *api.ScanRequest) (rows []*api.Row, first, last *api.ScanResponse, err error) {
	m.Topic = topicName
	stream, err := n.client.Scan(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, nil, nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		if first == nil {
			first = stream.Msg()
		}
		last = stream.Msg()
		rows = append(rows, stream.Msg().Rows...)
	}
	return rows, first, last, stream.Err()
}

// request is a plain HTTP request.
func (n *node) request(method, path string, headers ...string) (*http.Response, []byte) {
	n.t.Helper()
	r, err := http.NewRequest(method, n.url+path, nil)
	require.NoError(n.t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	answer, err := n.http.Do(r)
	require.NoError(n.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	require.NoError(n.t, err)
	return answer, body
}

// reason returns the code and the reason of an error.
func reason(t *testing.T, err error) (connect.Code, api.Reason, *api.ErrorDetail) {
	t.Helper()
	require.Error(t, err)
	var typed *connect.Error
	require.ErrorAs(t, err, &typed)
	require.Len(t, typed.Details(), 1, "%v", err)
	value, err2 := typed.Details()[0].Value()
	require.NoError(t, err2)
	detail := value.(*api.ErrorDetail)
	return typed.Code(), detail.Reason, detail
}

func ptr[T any](v T) *T { return &v }

func at(offset int64) *api.At { return &api.At{Point: &api.At_Offset{Offset: offset}} }
