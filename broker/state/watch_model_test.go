package state_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	api "github.com/keyframelog/keyframe/proto/state"
)

// mirror is what a client knows by Watch alone: it goes on where it was told to, whatever came behind that.
type mirror struct {
	mu   sync.Mutex
	rows map[string]string // partition/key
	told map[string]int64  // partition/key: newest offset that it was told of at
	gone map[string]bool   // partition/key: deleted since the newest as_of of the partition
	back map[string]bool   // those of gone when it was cut off
	from map[int32]*api.AsOf
	news chan struct{} // it was told something, or there is something to tell it
}

func newMirror() *mirror {
	return &mirror{rows: map[string]string{}, told: map[string]int64{}, gone: map[string]bool{}, from: map[int32]*api.AsOf{}, news: make(chan struct{}, 1)}
}

// take applies what is told. A key is never told at an older offset than before, and as expired only if it is known, unless its row has come or gone since
// the newest as_of: who is cut off behind that is told again.
func (m *mirror) take(t require.TestingT, told *api.WatchResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer deadline.Wake(m.news)
	for _, p := range told.BeginsAnew {
		maps.DeleteFunc(m.rows, func(key, _ string) bool { return key[:len(fmt.Sprint(p, "/"))] == fmt.Sprint(p, "/") })
		delete(m.from, p)
	}
	for _, c := range told.Changes {
		key := fmt.Sprint(c.Row.Partition, "/", string(c.Row.Key))
		require.GreaterOrEqual(t, c.Row.Offset, m.told[key], "%s", key)
		m.told[key] = c.Row.Offset
		if at := m.from[c.Row.Partition]; c.Expired && at != nil && c.Row.Offset < at.Offset && !m.back[key] {
			require.Contains(t, m.rows, key, "expired at %d", c.Row.Offset)
		}
		if c.Deleted {
			delete(m.rows, key)
			m.gone[key] = true
		} else {
			require.False(t, c.Expired)
			m.rows[key] = string(c.Row.Value)
		}
	}
	for _, at := range told.AsOf {
		if before := m.from[at.Partition]; before != nil {
			require.GreaterOrEqual(t, at.Offset, before.Offset)
			require.GreaterOrEqual(t, at.Start, before.Start)
		}
		m.from[at.Partition] = at
		maps.DeleteFunc(m.gone, func(key string, _ bool) bool { return strings.HasPrefix(key, fmt.Sprint(at.Partition, "/")) })
	}
}

func (m *mirror) known() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.rows)
}

// follow watches until it is cut off by the function returned, which waits for its end.
func (m *mirror) follow(n *node, prefix string) (cut func()) {
	m.mu.Lock()
	from := slices.Collect(maps.Values(m.from))
	m.back = maps.Clone(m.gone)
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := n.client.Watch(ctx, connect.NewRequest(&api.WatchRequest{Topic: topicName, FromStart: true, From: from, Prefix: []byte(prefix)}))
	require.NoError(n.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for stream.Receive() {
			m.take(n.t, stream.Msg())
		}
		_ = stream.Close()
	}()
	return func() {
		cancel()
		<-done
	}
}

// A mirror that is fed by Watch alone, and cut off anywhere, becomes what Scan reads: while deltas come, in transactions or not, frames are cut and
// trimmed to, tombstones and rows expire, and the broker starts anew.
func TestWatchModel(t *testing.T) {
	runs, err := strconv.Atoi(cmp.Or(os.Getenv("KEYFRAME_CHECKS"), "20"))
	require.NoError(t, err)
	for range runs {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runWatchModel(t, rand.New(rand.NewPCG(seed, 2))) })
	}
}

type watchWorld struct {
	*node
	r       *rand.Rand
	mirrors []*mirror
	cuts    []func()
	prefix  []string
	open    map[int]bool // partitions with an open transaction
}

func runWatchModel(t *testing.T, r *rand.Rand) {
	n := newNode(t, 2, nil)
	n.settings.Retain = 2 + r.IntN(3)
	n.settings.DeleteRetentionMs = int64(r.IntN(3) * 5000)
	n.settings.IntervalRecords = int64(r.IntN(3) * 40)
	w := &watchWorld{node: n, r: r, open: map[int]bool{}}
	for _, prefix := range []string{"", "key1"} {
		m := newMirror()
		w.mirrors, w.prefix = append(w.mirrors, m), append(w.prefix, prefix)
		w.cuts = append(w.cuts, m.follow(n, prefix))
	}
	for range 80 {
		w.step()
		if r.IntN(12) == 0 {
			w.check()
		}
	}
	w.check()
	for _, cut := range w.cuts {
		if cut != nil {
			cut()
		}
	}
}

func (w *watchWorld) step() {
	n, r := w.node, w.r
	l := n.logs[r.IntN(len(n.logs))]
	switch r.IntN(16) {
	case 0:
		n.cut()
	case 1:
		n.clock.ms.Add(int64(r.IntN(10_000)))
		n.settings.DeltaRetentionMs = int64(r.IntN(30) * 1000)
		require.NoError(n.t, n.k.Configure(topicName, n.settings))
	case 2:
		if b := l.Bounds(); b.LastStable > b.LogStart {
			require.NoError(n.t, l.HideBelow(n.t.Context(), b.LogStart+1+r.Int64N(b.LastStable-b.LogStart)))
		}
	case 3:
		if r.IntN(3) == 0 {
			w.restart()
		}
	case 4, 5, 6:
		i := r.IntN(len(w.mirrors))
		if w.cuts[i] != nil {
			w.cuts[i]()
			w.cuts[i] = nil
		} else {
			w.cuts[i] = w.mirrors[i].follow(n, w.prefix[i])
		}
	case 7:
		i := r.IntN(len(n.logs))
		if w.open[i] {
			n.logs[i].End(1, r.IntN(2) == 0)
		} else {
			n.logs[i].AppendIn(1, w.draw()...)
		}
		w.open[i] = !w.open[i]
	default:
		l.Append(w.draw()...)
	}
}

func (w *watchWorld) restart() {
	for i, cut := range w.cuts {
		if cut != nil {
			cut()
			w.cuts[i] = nil
		}
	}
	for _, m := range w.mirrors { // it may have been told of more than what is folded yet when it comes back
		maps.DeleteFunc(m.told, func(key string, offset int64) bool {
			at := m.from[int32(key[0]-'0')]
			return at == nil || offset >= at.Offset
		})
	}
	w.stop()
	w.start(len(w.logs), nil)
}

func (w *watchWorld) draw() (list []batch.Record) {
	for range 1 + w.r.IntN(20) {
		key := fmt.Sprint("key", w.r.IntN(30))
		if w.r.IntN(4) == 0 {
			list = append(list, memlog.Delete(key))
		} else {
			list = append(list, memlog.Put(key, strconv.Itoa(w.r.IntN(1000))))
		}
	}
	return list
}

// check lets everything come to rest: then the mirrors that follow are as the state is.
func (w *watchWorld) check() {
	n := w.node
	for i, open := range w.open {
		if open {
			n.logs[i].End(1, w.r.IntN(2) == 0)
			w.open[i] = false
		}
	}
	for i, m := range w.mirrors {
		if w.cuts[i] == nil {
			w.cuts[i] = m.follow(n, w.prefix[i])
		}
		var want, got map[string]string
		equal := func() bool {
			rows, _, _, err := n.scan(&api.ScanRequest{Prefix: []byte(w.prefix[i])})
			require.NoError(n.t, err)
			want = map[string]string{}
			for _, row := range rows {
				want[fmt.Sprint(row.Partition, "/", string(row.Key))] = string(row.Value)
			}
			got = m.known()
			return maps.Equal(want, got)
		}
		unwatch := w.watch(m)
		for late := time.After(time.Minute); !equal(); {
			select {
			case <-m.news:
			case <-late:
				require.Equal(n.t, want, got)
			}
		}
		unwatch()
	}
}

// watch gives a mirror news of what changes, until the function returned is called.
func (w *watchWorld) watch(m *mirror) (cancel func()) {
	topic, ok := w.k.Topic(topicName)
	require.True(w.t, ok)
	var cancels []func()
	for _, p := range topic.Partitions() {
		cancels = append(cancels, p.Watch(func() { deadline.Wake(m.news) }))
	}
	return func() {
		for _, cancel := range cancels {
			cancel()
		}
	}
}

// The same with folds whose rows are not the last records.
func TestWatchOfACounter(t *testing.T) {
	n := newNode(t, 1, nil)
	require.NoError(t, n.k.Remove(t.Context(), topicName))
	spec := n.spec(1)
	spec.Fold = fold.Counter
	require.NoError(t, n.k.Add(spec, keyframer.Settings(calm())))
	w := watching(t, n, &api.WatchRequest{})
	w.until(func(m *api.WatchResponse) bool { return len(m.CaughtUp) > 0 })
	n.logs[0].Append(memlog.Put("a", "1"))
	require.Equal(t, "1", string(w.change().Row.Value))
	n.logs[0].Append(memlog.Put("a", "2"))
	require.Equal(t, "3", string(w.change().Row.Value))
	n.logs[0].Append(memlog.Put("a", "9223372036854775807"), memlog.Put("b", "1")) // the first is rejected: it would overflow
	require.Equal(t, "b", string(w.change().Row.Key))
}
