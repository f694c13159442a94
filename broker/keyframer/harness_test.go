package keyframer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_000_000)
	return c
}

func (c *clock) Now() time.Time          { return time.UnixMilli(c.ms.Load()) }
func (c *clock) advance(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// node is one run of a keyframer over tables in memory.
type node struct {
	t        *testing.T
	clock    *clock
	fs       vfs.FS
	dir      *engine.Dir
	pdb      *pebble.DB
	tables   *table.DB
	k        *keyframer.Keyframer
	registry *prometheus.Registry
	config   keyframer.Config
	logged   *logged
	noTables atomic.Bool                 // sstables cannot be created
	noTable  atomic.Pointer[func() bool] // nor one for which it says so
	slow     sync.RWMutex                // locked: creating one waits
	creating atomic.Int64                // how often one was about to be created
}

func newNode(t *testing.T, config keyframer.Config) *node {
	n := newNodeOn(t, config, newClock(), vfs.NewMem())
	t.Cleanup(n.stop)
	return n
}

// newNodeOn starts on a file system that may have been used before. The caller stops the node.
func newNodeOn(t *testing.T, config keyframer.Config, c *clock, fs vfs.FS) *node {
	n := &node{t: t, clock: c, fs: fs, config: config, logged: &logged{}}
	n.start()
	return n
}

func (n *node) start() {
	var err error
	n.dir, err = engine.OpenDir(engine.Config{Dir: "data", FS: n.fs, Fatal: func(msg string) { panic(msg) }})
	require.NoError(n.t, err)
	var options *pebble.Options
	n.pdb, options, err = n.dir.OpenTableDB()
	require.NoError(n.t, err)
	fs := errorfs.Wrap(n.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate {
			n.creating.Add(1)
			n.slow.RLock()
			defer n.slow.RUnlock()
			if no := n.noTable.Load(); n.noTables.Load() || no != nil && (*no)() {
				return errors.New("no space left on device")
			}
		}
		return nil
	}))
	n.tables, err = table.Open(table.Config{DB: n.pdb, Options: options, FS: fs, Dir: "data/ingest", Now: n.clock.Now})
	require.NoError(n.t, err)
	n.registry = prometheus.NewRegistry()
	c := n.config
	c.Tables, c.Now, c.Metrics, c.Logger = n.tables, n.clock.Now, n.registry, slog.New(n.logged)
	n.k = keyframer.New(c)
}

func (n *node) stop() {
	if n.k == nil {
		return
	}
	require.NoError(n.t, n.k.Close())
	require.NoError(n.t, n.tables.Close())
	require.NoError(n.t, n.dir.Close())
	n.k = nil
}

func (n *node) restart() {
	n.stop()
	n.start()
}

// calm are settings under which nothing happens by itself.
func calm() keyframer.Settings {
	return keyframer.Settings{Retain: 100, DeltaRetentionMs: -1, DeltaRetentionBytes: -1, DeleteRetentionMs: -1, RetentionMs: -1, RetentionBytes: -1}
}

const topicName = "files"

func spec(kind fold.Kind, logs ...*memlog.Log) keyframer.TopicSpec {
	s := keyframer.TopicSpec{Name: topicName, ID: [16]byte{7}, Fold: kind}
	for i, l := range logs {
		s.Partitions = append(s.Partitions, keyframer.PartitionSpec{
			Index: int32(i), Ordinal: uint32(i + 1), Incarnation: [16]byte{byte(i), 1}, Log: l,
		})
	}
	return s
}

// add starts a topic over new logs.
func (n *node) add(kind fold.Kind, settings keyframer.Settings, partitions int) []*memlog.Log {
	logs := make([]*memlog.Log, partitions)
	for i := range logs {
		logs[i] = memlog.New(n.clock.Now)
	}
	require.NoError(n.t, n.k.Add(spec(kind, logs...), settings))
	return logs
}

func (n *node) partition(index int32) *keyframer.Partition {
	p, err := n.k.Partition(topicName, index)
	require.NoError(n.t, err)
	return p
}

func (n *node) table(index int32) *table.Table {
	t, err := n.partition(index).Table()
	require.NoError(n.t, err)
	return t
}

// eventually waits for a condition; events of the topic and a slow poll look at it again.
func (n *node) eventually(what string, condition func() bool) {
	n.t.Helper()
	topic, _ := n.k.Topic(topicName)
	deadline := time.After(time.Minute)
	for {
		var changed <-chan struct{}
		if topic != nil {
			changed = topic.Changed()
		}
		if condition() {
			return
		}
		select {
		case <-deadline:
			require.Fail(n.t, "never: "+what, "%s", n.logged)
		case <-changed:
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// applied waits until everything in the logs is applied.
func (n *node) applied() {
	n.t.Helper()
	topic, ok := n.k.Topic(topicName)
	require.True(n.t, ok)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, p := range topic.Partitions() {
		require.NoError(n.t, p.WaitApplied(ctx, p.Bounds().LastStable))
	}
}

// holdUp lets whoever creates an sstable wait until goOn is called, or the test is over.
func (n *node) holdUp() (goOn func()) {
	n.slow.Lock()
	goOn = sync.OnceFunc(n.slow.Unlock)
	n.t.Cleanup(goOn)
	return goOn
}

// settle tells the keyframer that the clock has moved or that settings have changed.
func (n *node) settle(settings keyframer.Settings) {
	n.t.Helper()
	require.NoError(n.t, n.k.Configure(topicName, settings))
}

// cut cuts the topic and returns the frames' offsets.
func (n *node) cut() keyframer.Cut {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := n.k.Cut(ctx, topicName)
	require.NoError(n.t, err)
	return c
}

func cuts(t *table.Table) (at []int64) {
	for _, f := range t.Frames() {
		at = append(at, f.Cut)
	}
	return at
}

// metric returns the sum of a metric over its labels.
func (n *node) metric(name string) (sum float64) {
	families, err := n.registry.Gather()
	require.NoError(n.t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// get reads a key as of now.
func (n *node) get(index int32, key string) (string, bool) {
	l, err := n.partition(index).Live()
	require.NoError(n.t, err)
	row, _, ok, err := l.Get([]byte(key))
	require.NoError(n.t, err)
	return string(row.Value), ok
}

// logged keeps what was logged as errors.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += " " + a.String()
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
	return nil
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.lines)
}
