package main

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// guard is how long is waited for what must come: far longer than that ever takes.
const guard = 5 * time.Minute

// stateURL is what clients of a node are told; where it really listens is for their dialers to know.
const stateURL = "http://127.0.0.1:9094"

// node is a broker that can be ended and started again, on other ports: its clients dial it by name. With a binary it is a process of its own.
type node struct {
	t      testing.TB
	dir    string
	binary string // "": it runs in this process
	http   *http.Client
	plane  stateconnect.StateServiceClient

	mu sync.Mutex
	// Guarded by mu.
	kafka, state string // addresses
	inside       *broker.Broker
	process      *process.Broker
}

// startNode starts a broker in a directory of its own.
func startNode(t testing.TB, binary string) *node {
	n := &node{t: t, dir: filepath.Join(t.TempDir(), "data"), binary: binary}
	n.start()
	t.Cleanup(func() { require.NoError(t, n.stop()) })
	n.http = &http.Client{Transport: &http.Transport{DialContext: n.dialState}}
	t.Cleanup(n.http.CloseIdleConnections)
	n.plane = stateconnect.NewStateServiceClient(n.http, stateURL)
	return n
}

func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.binary != "" {
		p, err := process.Start(context.Background(), n.binary, n.dir, process.Options{})
		require.NoError(n.t, err)
		n.process, n.kafka, n.state = p, p.Kafka, strings.TrimPrefix(p.State, "http://")
		return
	}
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = n.dir, "127.0.0.1:0", "127.0.0.1:0"
	b, err := broker.Start(context.Background(), cfg)
	require.NoError(n.t, err)
	n.inside, n.kafka, n.state = b, b.KafkaAddr().String(), b.StateAddr().String()
}

func (n *node) stop() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process != nil {
		return n.process.Stop()
	}
	return n.inside.Close()
}

// restart ends the broker, as an operator does or as kill -9 does, and starts it again.
func (n *node) restart(kill bool) {
	if kill && n.process != nil {
		n.process.Kill()
	} else {
		require.NoError(n.t, n.stop())
	}
	n.start()
}

// rss is the memory of a broker that is a process of its own.
func (n *node) rss() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return 0
	}
	return n.process.RSS()
}

func (n *node) dialKafka(ctx context.Context, network, _ string) (net.Conn, error) {
	n.mu.Lock()
	addr := n.kafka
	n.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

func (n *node) dialState(ctx context.Context, network, _ string) (net.Conn, error) {
	n.mu.Lock()
	addr := n.state
	n.mu.Unlock()
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// kafkaClient is a client of the data plane, until the test ends.
func (n *node) kafkaClient(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(n.dialKafka)}, opts...)...)
	require.NoError(n.t, err)
	n.t.Cleanup(c.Close)
	return c
}

// cut cuts a key frame of every partition.
func (n *node) cut(topic string) []*state.Frame {
	r, err := n.plane.Cut(n.t.Context(), connect.NewRequest(&state.CutRequest{Topic: topic}))
	require.NoError(n.t, err)
	return r.Msg.Frames
}

// partitions says what the log has.
func (n *node) partitions(topic string) []*state.Partition {
	s, err := n.plane.Frames(n.t.Context(), connect.NewRequest(&state.FramesRequest{Topic: topic}))
	require.NoError(n.t, err)
	defer s.Close()
	require.True(n.t, s.Receive(), "%v", s.Err())
	return s.Msg().Partitions
}

// metric sums a metric of the broker up over its labels.
func (n *node) metric(name string) (sum float64) {
	resp, err := n.http.Get(stateURL + "/metrics")
	require.NoError(n.t, err)
	defer resp.Body.Close()
	require.Equal(n.t, http.StatusOK, resp.StatusCode)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), name); ok && (rest[0] == '{' || rest[0] == ' ') {
			value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
			require.NoError(n.t, err)
			sum += value
		}
	}
	require.NoError(n.t, lines.Err())
	return sum
}

func (n *node) configure(topic string, configs map[string]string) {
	var alter []kadm.AlterConfig
	for name, value := range configs {
		alter = append(alter, kadm.AlterConfig{Name: name, Value: &value})
	}
	done, err := kadm.NewClient(n.kafkaClient()).AlterTopicConfigs(n.t.Context(), alter, topic)
	require.NoError(n.t, err)
	for _, d := range done {
		require.NoError(n.t, d.Err)
	}
}

// link is how the clients of a node reach its two planes.
type link struct{ kafka, state dialer }

func (n *node) link() link { return link{n.dialKafka, n.dialState} }

// replica is a replica of a topic of a node, and what it says.
type replica struct {
	*client.Replica
	t      testing.TB
	meter  *meter
	events chan client.Event
}

// openReplica opens a replica that reaches its log over the link. Its meter has counted what that took.
func openReplica(t testing.TB, l link, topic string, store client.Store) *replica {
	r := &replica{t: t, meter: newMeter(l.state), events: make(chan client.Event, 1<<10)}
	opened, err := client.OpenReplica(t.Context(), client.Config{
		Brokers: []string{"127.0.0.1:9092"}, StateURL: stateURL, Topic: topic, Store: store,
		HTTPClient:   &http.Client{Transport: r.meter},
		KafkaOptions: []kgo.Opt{kgo.Dialer(l.kafka), kgo.DisableFetchCRCValidation()},
		OnEvent:      func(e client.Event) { r.events <- e },
	})
	require.NoError(t, err)
	r.Replica = opened
	return r
}

// await waits for an event. Of those before it none may be what the replica does where that fails.
func (r *replica) await(kind client.EventKind) client.Event {
	r.t.Helper()
	timeout := time.NewTimer(guard)
	defer timeout.Stop()
	for {
		select {
		case e := <-r.events:
			switch e.Kind {
			case kind:
				return e
			case client.RepairFailed, client.RepairRefused, client.FrameRejected, client.BootstrapFailed, client.Stopped, client.CorruptionFound:
				require.Fail(r.t, e.Kind.String(), "%v", e.Err)
			}
		case <-timeout.C:
			require.Fail(r.t, "it did not come", "%v", kind)
		}
	}
}

// catchUp waits until the replica has applied everything below an offset of a partition.
func (r *replica) catchUp(partition int32, offset int64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), guard)
	defer cancel()
	require.NoError(r.t, r.WaitFor(ctx, partition, offset))
}

// requireEqual compares with the log.
func (r *replica) requireEqual() {
	r.t.Helper()
	for _, v := range r.Verify(r.t.Context()) {
		require.Equal(r.t, client.Equal, v.Outcome, v.Reason)
	}
}
