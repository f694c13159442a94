package client

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/proto/fold"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBootstrapAndFollow(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, from := range []From{FromFrame, FromEarliest} {
			t.Run(fmt.Sprint(from), func(t *testing.T) {
				g := newRig(t, fold.LastValue, 1)
				g.cfg.Store = store()
				g.cfg.From = from
				g.log.append(0, "a", "1", "b", "2")
				g.log.append(0, "b", "-", "c", "3")
				g.log.cut(0)
				g.log.append(0, "c", "4")
				g.open()
				g.requireState(0)
				row, ok, err := g.r.Get(context.Background(), []byte("c"))
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, "4", string(row.Value))
				require.Equal(t, int64(4), row.Offset)
				_, ok, _ = g.r.Get(context.Background(), []byte("b"))
				require.False(t, ok)

				g.log.append(0, "d", "5")
				end := g.log.marker(0)
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end), "a marker moves the position")
				g.awaitVerdict(g.log.cut(0), Equal)
				for _, v := range g.r.Verify(testContext(t)) {
					require.Equal(t, Equal, v.Outcome)
					require.Equal(t, end, v.At)
				}
				for _, v := range g.r.Scrub(testContext(t)) {
					require.Equal(t, Equal, v.Outcome)
				}
				require.Zero(t, g.outcomes()[Drifted])
			})
		}
	})
}

// Change events become rows in a replica as they do in the broker, and the digests agree.
func TestDebezium(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Debezium, 1)
		g.cfg.Store = store()
		g.log.append(0, "1", `{"op":"r","after":{"name":"a","id":1.0}}`, "2", `{"op":"r","after":{"id":2}}`, "3", `{"op":"r","after":{"id":3}}`)
		g.log.cut(0)
		g.open()
		g.log.append(0, "1", `{"schema":{},"payload":{"op":"u","before":null,"after":{"name":"b","id":1}}}`, "2", `{"op":"d","after":null}`, "3", "-", "4", `{"op":"t"}`)
		g.requireState(0)
		require.Equal(t, map[string]string{"1": `{"id":1,"name":"b"}`}, g.state())
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

func TestFolds(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		g.log.append(0, "n", "40")
		g.log.cut(0)
		g.open()
		g.log.append(0, "n", "2", "m", "-7", "n", "9223372036854775807")
		g.requireState(0)
		require.Equal(t, map[string]string{"n": "42", "m": "-7"}, g.state())
		g.awaitVerdict(g.log.cut(0), Equal)
	})
}

func TestManyPartitions(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 8)
		g.cfg.Store = store()
		want := map[string]string{}
		for i := range 400 {
			k := fmt.Sprintf("k%03d", i)
			g.log.append(int32(i%8), k, "v")
			want[k] = "v"
			if i == 200 {
				for p := range int32(7) {
					g.log.cut(p)
				}
			}
		}
		g.open()
		for p := range int32(8) {
			require.NoError(t, g.r.WaitFor(testContext(t), p, 50))
		}
		require.Equal(t, want, g.state())
		last := ""
		for row, err := range g.r.Scan(context.Background(), []byte("k1")) {
			require.NoError(t, err)
			require.Greater(t, string(row.Key), last)
			last = string(row.Key)
		}
		require.Equal(t, "k199", last)
		d, err := g.r.Digest()
		require.NoError(t, err)
		require.Equal(t, int64(400), d.Count)
	})
}

// A frame's stream that breaks is read on from where it broke.
func TestBrokenFrameStreamIsResumed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		for i := range 200 {
			g.log.append(0, fmt.Sprint(i), strings.Repeat("v", 10_000))
		}
		g.log.cut(0)
		cutShort := func(try int, b []byte) []byte {
			if try < 6 {
				return b[:min(len(b), 300_000)]
			}
			return b
		}
		g.plane.fault.Store(&cutShort)
		g.open()
		g.requireState(0)
		require.Equal(t, int64(6), g.plane.tries.Load())
		_, rejected := g.saw(FrameRejected)
		require.False(t, rejected)
	})
}

// What does not verify is never visible: the replica tries again until a frame does.
func TestDamagedFrameIsNeverVisible(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		for i := range 100 {
			g.log.append(0, fmt.Sprint(i), strings.Repeat("v", 10_000))
		}
		g.log.cut(0)
		flip := func(try int, b []byte) []byte {
			if try < 4 {
				b[len(b)/(try+1)] ^= 1
			}
			return b
		}
		g.plane.fault.Store(&flip)
		g.open()
		g.requireState(0)
		_, rejected := g.saw(FrameRejected)
		require.True(t, rejected)
		require.Equal(t, int64(4), g.plane.tries.Load())

		t.Run("for as long as it takes", func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.Store = store()
			g.log.append(0, "k", "v")
			g.log.cut(0)
			always := func(_ int, b []byte) []byte { b[len(b)/2] ^= 1; return b }
			g.plane.fault.Store(&always)
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			_, err := openReplica(ctx, g.cfg.withDefaults(), g.tail)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	})
}

func TestTopicCreatedAnew(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1", "b", "1")
		g.log.cut(0)
		g.open()
		g.log.append(0, "c", "1")
		g.requireState(0) // so the tail is assigned
		before, err := g.r.Position(0)
		require.NoError(t, err)
		g.log.create(2, 1)
		g.log.append(0, "b", "2")
		g.log.cut(0)
		g.await("the new state", func() bool { return fmt.Sprint(g.state()) == "map[b:2]" })
		_, seen := g.saw(NewIncarnation)
		require.True(t, seen)
		after, _ := g.r.Position(0)
		require.NotEqual(t, before.Incarnation, after.Incarnation)
	})
}

// A replica of all partitions of a topic that gets more says so, and does not go on with a part of it; one of some goes on.
func TestTopicGrows(t *testing.T) {
	for _, some := range []bool{false, true} {
		g := newRig(t, fold.LastValue, 2)
		if some {
			g.cfg.Partitions = []int32{0, 1}
		}
		g.log.append(0, "a", "1")
		g.log.cut(0)
		g.open()
		g.log.append(0, "c", "1")
		g.requireState(0)
		g.log.grow()
		if some {
			g.log.append(0, "d", "1")
			g.requireState(0)
			require.NoError(t, g.r.Err())
			continue
		}
		g.await("the end of following", func() bool { return g.r.Err() != nil })
		require.ErrorIs(t, g.r.Err(), ErrPartitions)
		_, seen := g.saw(TopicGrew)
		require.True(t, seen)
	}
}

// Without a state plane it says so too.
func TestTopicGrowsWithoutStatePlane(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.StateURL, g.cfg.From, g.cfg.Retry = "", FromEarliest, 10*time.Microsecond
	g.log.append(0, "a", "1")
	g.open()
	g.requireState(0)
	g.log.grow()
	g.await("the end of following", func() bool { return g.r.Err() != nil })
	require.ErrorIs(t, g.r.Err(), ErrPartitions)
	_, seen := g.saw(TopicGrew)
	require.True(t, seen)
}

// A topic with other partitions than before is another one: the replica says so, and does not go on with a part of it.
func TestTopicCreatedAnewWithMorePartitions(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.open()
	g.log.append(0, "c", "1")
	g.requireState(0)
	g.log.create(2, 3)
	g.await("the end of following", func() bool { return g.r.Err() != nil })
	require.ErrorIs(t, g.r.Err(), ErrPartitions)
	require.ErrorContains(t, g.r.Err(), "the replica was opened with 1")
}

// What asking again does not change ends the attempt to open; what may pass is asked again.
func TestRefusedByTheStatePlane(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.plane.refuse.Store(http.StatusConflict)
	_, err := openReplica(t.Context(), g.cfg.withDefaults(), g.tail)
	require.ErrorIs(t, err, ErrRefused)
	require.ErrorContains(t, err, "no frame for you")

	g.plane.refuse.Store(http.StatusServiceUnavailable)
	g.tail = newFakeTail(g.log)
	opened := make(chan error)
	go func() {
		r, err := openReplica(t.Context(), g.cfg.withDefaults(), g.tail)
		g.r = r
		opened <- err
	}()
	require.Eventually(t, func() bool { return g.plane.tries.Load() > 3 }, guard, time.Millisecond)
	g.plane.refuse.Store(0)
	require.NoError(t, <-opened)
	g.requireState(0)
	require.NoError(t, g.r.Close())
}

func TestPositionGoneFromTheLog(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1")
		g.log.cut(0)
		lagging := make(chan struct{})
		g.tail.fault = func(s segment) []segment {
			if s.next == 2 {
				<-lagging
			}
			return []segment{s}
		}
		g.open()
		g.log.append(0, "a", "-")
		close(lagging)
		g.requireState(0)
		// The tail is thrown back by hand: a position below what the log still has.
		g.log.append(0, "b", "1")
		g.requireState(0)
		g.log.cut(0)
		g.log.deleteRecords(0)
		p := g.r.partitions[0]
		p.mu.Lock()
		generation := p.generation
		p.mu.Unlock()
		g.r.order(order{partition: 0, offset: 0, epoch: -1, generation: generation})
		g.await("the event", func() bool { _, ok := g.saw(OutOfRange); return ok })
		g.log.append(0, "c", "1")
		g.requireState(0)
	})
}

func TestWithoutStatePlane(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.StateURL, g.cfg.From = "", FromEarliest
	g.log.append(0, "a", "1")
	g.open()
	g.requireState(0)
	for _, v := range g.r.Verify(testContext(t)) {
		require.Equal(t, Inconclusive, v.Outcome)
	}
}

func TestClosedReplica(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1")
		r := g.open()
		waiting := make(chan error, 1)
		go func() { waiting <- r.WaitFor(context.Background(), 0, 100) }()
		require.NoError(t, r.Close())
		require.ErrorIs(t, <-waiting, ErrClosed)
		_, _, err := r.Get(context.Background(), []byte("a"))
		require.ErrorIs(t, err, ErrClosed)
		for _, err := range r.Watch(context.Background(), nil) {
			if err != nil {
				require.ErrorIs(t, err, ErrClosed)
			}
		}
	})
}

func TestBadConfig(t *testing.T) {
	for want, cfg := range map[string]Config{
		"Topic":    {Brokers: []string{"x"}, StateURL: "y"},
		"Brokers":  {Topic: "t", StateURL: "y"},
		"StateURL": {Topic: "t", Brokers: []string{"x"}},
		"terminal": {Topic: "t", Brokers: []string{"x"}, StateURL: "y", Name: "a\x1b[2J"},
		"negative": {Topic: "t", Brokers: []string{"x"}, From: FromEarliest, RingEntries: -1},
	} {
		_, err := OpenReplica(context.Background(), cfg)
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, want)
	}
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Partitions = []int32{7}
	_, err := openReplica(context.Background(), g.cfg.withDefaults(), g.tail)
	require.ErrorIs(t, err, ErrNoPartition)
}

func TestTypedView(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		type file struct {
			Mode string `json:"mode"`
		}
		g := newRig(t, fold.JSONMergePatch, 1)
		g.cfg.Store = store()
		g.log.append(0, "x", `{"mode":"644"}`, "y", `[1]`)
		g.log.cut(0)
		g.open()
		g.log.append(0, "x", `{"mode":"755"}`)
		g.requireState(0)
		files := NewTyped(g.r, JSON[file]{})
		v, ok, err := files.Get(context.Background(), "x")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, file{"755"}, v)
		_, _, err = files.Get(context.Background(), "y")
		var bad *DecodeError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, "y", bad.Key)
		n := 0
		for row, err := range files.Scan(context.Background(), "x") {
			require.NoError(t, err)
			require.Equal(t, "755", row.Value.Mode)
			n++
		}
		require.Equal(t, 1, n)
		b, err := JSON[file]{}.Encode(file{"<644>"})
		require.NoError(t, err)
		require.True(t, bytes.Equal([]byte(`{"mode":"<644>"}`), b))
	})
}
