package client

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

// lagging opens a replica on four keys with the value a and lets it read no further.
func (g *rig) lagging() {
	for i := range 4 {
		g.log.append(0, fmt.Sprint("k", i), "a")
	}
	g.log.cut(0)
	g.open()
	g.log.append(0, "x", "1")
	g.requireState(0) // so the tail is assigned
	g.tail.hold()
}

// overwrite writes all four keys and cuts a key frame.
func (g *rig) overwrite(value string) (end int64) {
	for i := range 4 {
		g.log.append(0, fmt.Sprint("k", i), value)
	}
	return g.log.cut(0)
}

// Rows that stand for more deltas than themselves are never applied: half of them is no state that ever was.
func TestLaggingBelowTheDeltaStart(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.OnDrift = store(), Halt
		g.lagging()
		g.tail.rowsMax.Store(1)
		b := g.overwrite("b")
		g.overwrite("c")
		g.log.trim(0)
		g.log.append(0, "y", "1")
		g.tail.release()
		require.NoError(t, g.r.WaitFor(testContext(t), 0, b))
		row, ok, err := g.r.Get(context.Background(), []byte("k3"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "c", string(row.Value), "k3=b is below %d", b)
		e, seen := g.saw(OutOfRange)
		require.True(t, seen)
		require.Equal(t, int64(5), e.Offset)
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// Where every delta was its key's last, the rows are the deltas, whatever the fold, and the replica goes on with them.
func TestRowsWithoutAGap(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
		eachStore(t, func(t *testing.T, store func() Store) {
			g := newRig(t, kind, 1)
			g.cfg.Store = store()
			g.log.append(0, "a", "1", "b", "2", "c", "3")
			g.log.cut(0)
			g.open()
			g.log.append(0, "x", "1")
			g.requireState(0)
			loads := g.plane.tries.Load()
			g.tail.hold()
			g.tail.rowsMax.Store(2)
			g.log.append(0, "b", "10", "c", "-")
			first := g.log.cut(0)
			g.log.append(0, "d", "5", "a", "7")
			second := g.log.cut(0)
			p := g.r.partitions[0]
			require.Eventually(t, func() bool { // both are announced, before the first goes
				p.mu.Lock()
				defer p.mu.Unlock()
				return len(p.pending) == 2
			}, guard, time.Millisecond)
			g.log.trim(0)
			g.log.append(0, "a", "1")
			g.tail.release()
			g.requireState(0)
			g.awaitVerdict(first, Equal)
			g.awaitVerdict(second, Equal)
			_, seen := g.saw(OutOfRange)
			require.False(t, seen)
			require.Equal(t, loads, g.plane.tries.Load())
		})
	}
}

// A delete that nobody knows of any more is an offset that is missing.
func TestLaggingBelowTheHorizon(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.append(0, "k0", "-")
		g.log.append(0, "y", "1")
		g.log.cut(0)
		g.log.trim(0)
		g.log.expire(0)
		g.log.append(0, "z", "1")
		g.tail.release()
		g.requireState(0)
		_, ok, err := g.r.Get(context.Background(), []byte("k0"))
		require.NoError(t, err)
		require.False(t, ok, "it was deleted")
		g.awaitVerdict(g.log.cut(0), Equal)
	})
}

// The records of an aborted transaction are a gap too, but above the delta start offset nothing else is missing.
func TestAbortedTransactionIsNoGap(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.abort(0, 3)
		g.log.append(0, "k0", "b")
		g.tail.release()
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
		_, seen := g.saw(OutOfRange)
		require.False(t, seen)
	})
}

// Without a state plane the log itself tells: the aborted records are still there.
func TestAbortedTransactionWithoutStatePlane(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.StateURL, g.cfg.From = store(), "", FromEarliest
		g.log.append(0, "a", "1")
		g.open()
		for range 3 {
			g.log.abort(0, 3)
			g.log.append(0, "a", "2")
			g.requireState(0)
		}
		_, seen := g.saw(OutOfRange)
		require.False(t, seen)
		require.Equal(t, 1, g.count(Bootstrapped), "nothing is read twice")
	})
}

// A frame behind aborted records, before or behind their marker, is compared when the replica gets there, which is when it sees the marker
// or the next record: its digest is that of the state below.
func TestFrameAtAnAbortedTransaction(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1")
		g.open()
		g.tail.hold() // so that the frame is known before its cut is passed: a store that commits in batches has no digest of it later
		end := g.log.abortAround(0, 2)
		require.Eventually(t, func() bool {
			p := g.r.partitions[0]
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.pending) > 0
		}, guard, time.Millisecond)
		g.tail.release()
		g.awaitVerdict(end-1, Equal)
		g.awaitVerdict(g.log.cut(0), Equal)
		g.log.marker(0)
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Equal(t, g.log.state(0), g.state())
		_, seen := g.saw(OutOfRange)
		require.False(t, seen)
	})
}

// From earliest on a topic that was trimmed: the frame that the rows add up to, then each delta that is left.
func TestEarliestOfATrimmedTopic(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.From = store(), FromEarliest
		g.tail.hold()
		g.overwrite("a")
		n1 := g.overwrite("b")
		g.log.trim(0)
		g.log.append(0, "k0", "c", "k0", "-")
		g.log.cut(0)
		r := g.open()
		require.Equal(t, n1, r.Positions()[0].Offset)
		require.Len(t, g.state(), 4)
		g.tail.release()
		g.requireState(0)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// Where records were deleted, reading begins at the log start offset.
func TestEarliestIsTheLogStart(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.From = store(), FromEarliest
		g.log.append(0, "a", "1")
		g.log.deleteRecords(0)
		end := g.log.append(0, "b", "1")
		r := g.open()
		require.NoError(t, r.WaitFor(testContext(t), 0, end))
		require.Equal(t, map[string]string{"b": "1"}, g.state())
		_, seen := g.saw(OutOfRange)
		require.False(t, seen)
	})
}

// A replica without a state plane shows what it reads among rows when it is whole.
func TestTrimmedTopicWithoutStatePlane(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.StateURL, g.cfg.From = store(), "", FromEarliest
		g.tail.rowsMax.Store(1)
		g.overwrite("a")
		b := g.overwrite("b")
		g.log.trim(0)
		r := g.open()
		require.NoError(t, r.WaitFor(testContext(t), 0, 1))
		require.GreaterOrEqual(t, r.Positions()[0].Offset, b)
		require.Equal(t, g.log.state(0), g.state())
		g.log.append(0, "k0", "c")
		g.requireState(0)
		require.NoError(t, r.Close())

		if g.cfg.Store.dir == "" {
			return
		}
		g.tail.hold() // what is stored is whole as well
		g.open()
		require.Equal(t, g.log.state(0), g.state())
	})
}

// Whatever is written, trimmed and read when: what a replica shows is the state at its position.
func TestShowsOnlyWhatWas(t *testing.T) {
	configs := map[string]func(*Config){
		"frame":       func(*Config) {},
		"earliest":    func(c *Config) { c.From = FromEarliest },
		"without one": func(c *Config) { c.StateURL, c.From = "", FromEarliest },
	}
	for name, configure := range configs {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				rnd := rand.New(rand.NewPCG(seed, 3))
				for range 10 {
					kind := []fold.Kind{fold.LastValue, fold.Counter}[rnd.IntN(2)]
					g := newRig(t, kind, 1)
					g.cfg.Store = store()
					configure(&g.cfg)
					for range rnd.IntN(20) {
						g.step(rnd)
					}
					g.open()
					for range 200 {
						g.step(rnd)
						g.requireConsistent(0)
					}
					g.tail.release()
					g.log.append(0, "last", "1")
					g.requireState(0)
					require.Zero(t, g.outcomes()[Drifted])
					require.NoError(t, g.r.Close())
				}
			})
		})
	}
}

// step does one thing to the log, or to the replica's reading of it.
func (g *rig) step(rnd *rand.Rand) {
	switch rnd.IntN(14) {
	case 0, 1:
		g.log.cut(0)
	case 2:
		g.log.trim(0)
		if rnd.IntN(2) == 0 && g.cfg.StateURL != "" { // else nothing tells of it, as everywhere below a horizon
			g.log.expire(0)
		}
	case 3:
		g.tail.rowsMax.Store(rnd.Int64N(4))
		g.tail.hold()
	case 4, 5:
		g.tail.release()
	case 6:
		g.log.marker(0)
	case 7:
		if n := rnd.Int64N(3); n > 0 {
			g.log.abortAround(0, n)
		} else {
			g.log.abort(0, 1+rnd.Int64N(3))
		}
	default:
		value := fmt.Sprint(rnd.IntN(10))
		if rnd.IntN(4) == 0 {
			value = "-"
		}
		g.log.append(0, fmt.Sprint("k", rnd.IntN(8)), value)
	}
}

// requireConsistent compares the rows with the log at the replica's position, while nothing is applied.
func (g *rig) requireConsistent(no int32) {
	p := g.r.partitions[no]
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.rows()
	var d digest.Digest
	var h digest.Hasher
	for row, err := range s.all() {
		require.NoError(g.t, err)
		d.Add(h.Entry(row.Key, row.Value))
	}
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	require.Equal(g.t, digestOf(g.log.stateLocked(no, s.position())), d, "at %d", s.position())
}
