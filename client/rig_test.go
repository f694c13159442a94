package client

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// guard is how long a test waits for what must come: far longer than that ever takes, so that a slow machine fails none.
const guard = time.Minute

// rig is a replica on a fake log, with everything that it says.
type rig struct {
	t     *testing.T
	log   *fakeLog
	plane *fakePlane
	tail  *fakeTail
	cfg   Config
	r     *Replica

	mu       sync.Mutex
	verdicts []Verdict
	events   []Event
	said     notifier
}

func newRig(t *testing.T, kind fold.Kind, partitions int32) *rig {
	l := newFakeLog(kind, partitions)
	g := &rig{t: t, log: l, plane: newFakePlane(t, l), tail: newFakeTail(l)}
	g.cfg = Config{
		Topic: l.topic, Brokers: []string{"fake"}, StateURL: g.plane.url, Retry: time.Millisecond,
		OnVerdict: func(v Verdict) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.verdicts = append(g.verdicts, v)
			g.said.notify()
		},
		OnEvent: func(e Event) {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.events = append(g.events, e)
			g.said.notify()
		},
	}
	return g
}

// eachStore runs a test on every kind of store; store makes a new one each time.
func eachStore(t *testing.T, test func(t *testing.T, store func() Store)) {
	t.Run("memory", func(t *testing.T) { test(t, Memory) })
	t.Run("dir", func(t *testing.T) { test(t, func() Store { return DirFS(vfs.NewMem(), "replica") }) })
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), guard)
	t.Cleanup(cancel)
	return ctx
}

func (g *rig) open() *Replica {
	cfg := g.cfg.withDefaults()
	require.NoError(g.t, cfg.Validate())
	r, err := openReplica(testContext(g.t), cfg, g.tail)
	require.NoError(g.t, err)
	g.r = r
	g.t.Cleanup(func() { require.NoError(g.t, r.Close()) })
	return r
}

// await waits until cond holds; it is looked at after each verdict, event and change.
func (g *rig) await(what string, cond func() bool) {
	deadline := time.After(guard)
	for {
		said, changed := g.said.wait(), g.r.changed.wait()
		if cond() {
			return
		}
		select {
		case <-said:
		case <-changed:
		case <-deadline:
			g.t.Fatalf("never: %s; verdicts %+v, events %+v", what, g.verdicts, g.events)
		}
	}
}

func (g *rig) verdict(at int64) (Verdict, bool) {
	g.told()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, v := range g.verdicts {
		if v.At == at {
			return v, true
		}
	}
	return Verdict{}, false
}

func (g *rig) awaitVerdict(at int64, want Outcome) {
	g.t.Helper()
	g.await(fmt.Sprintf("a verdict at %d", at), func() bool { _, ok := g.verdict(at); return ok })
	v, _ := g.verdict(at)
	require.Equal(g.t, want, v.Outcome, "%+v", v)
}

func (g *rig) saw(kind EventKind) (Event, bool) {
	g.told()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == kind {
			return e, true
		}
	}
	return Event{}, false
}

func (g *rig) outcomes() map[Outcome]int {
	g.told()
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[Outcome]int{}
	for _, v := range g.verdicts {
		out[v.Outcome]++
	}
	return out
}

func (g *rig) state() map[string]string {
	out := map[string]string{}
	for row, err := range g.r.Scan(context.Background(), nil) {
		require.NoError(g.t, err)
		out[string(row.Key)] = string(row.Value)
	}
	return out
}

func (g *rig) requireState(p int32) {
	g.t.Helper()
	g.log.mu.Lock()
	end := g.log.parts[p].end
	g.log.mu.Unlock()
	require.NoError(g.t, g.r.WaitFor(testContext(g.t), p, end))
	require.Equal(g.t, g.log.state(p), g.state())
}

// told waits until all that has happened so far is told.
func (g *rig) told() {
	if g.r == nil || g.r.callbacks.inside() {
		return
	}
	for _, no := range g.r.Partitions() {
		g.r.callbacks.wait(no, 0, nil)
	}
}

// awaitFollowing waits until the tail reads for the state of a partition, some time after it is shown.
func awaitFollowing(t *testing.T, p *partition) {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.following && p.attached == p.generation
	}, guard, time.Millisecond)
}
