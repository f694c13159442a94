package client

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// names collects the keys that were named as differing.
func (g *driftRig) names() func() []Difference {
	var named []Difference
	g.cfg.OnDifference = func(d Difference) {
		g.mu.Lock()
		defer g.mu.Unlock()
		named = append(named, d)
	}
	return func() []Difference {
		g.mu.Lock()
		defer g.mu.Unlock()
		return named
	}
}

// entry is that of a row.
func entry(key, value string) digest.Entry {
	var h digest.Hasher
	return h.Entry([]byte(key), []byte(value))
}

// requireNamed says that the keys are named with what is here and what the log has at a cut.
func (g *driftRig) requireNamed(cut int64, named []Difference) {
	g.t.Helper()
	here, log := g.state(), g.log.stateAt(0, cut)
	want := map[string]Difference{}
	add := func(key string) {
		d := Difference{Cut: cut, Key: []byte(key)}
		if v, ok := here[key]; ok {
			d.Here = entry(key, v)
		}
		if v, ok := log[key]; ok {
			d.Log = entry(key, v)
		}
		if d.Here != d.Log {
			want[key] = d
		}
	}
	for key := range here {
		add(key)
	}
	for key := range log {
		add(key)
	}
	got := map[string]Difference{}
	for _, d := range named {
		got[string(d.Key)] = d
	}
	require.NotEmpty(g.t, want)
	require.Equal(g.t, want, got)
	require.Len(g.t, named, len(want))
}

// In a dispute each key that differs is named with both hashes, and none is changed; when the dispute is over they are put right, with no frame and no
// record in between. Also where all of the state differs, and where the drift is found beside a frame.
func TestADisputeNamesWhatItLeavesAsItIs(t *testing.T) {
	for name, drift := range map[string]func(g *driftRig) int64{
		"30 keys at a frame": func(g *driftRig) int64 { return g.drift(30) },
		"most of them":       func(g *driftRig) int64 { return g.drift(1900) },
		"beside a frame": func(g *driftRig) int64 {
			g.log.mu.Lock()
			g.lose = true
			g.log.mu.Unlock()
			end := g.log.append(0, "k000000001", "x", "k000000002", "-")
			require.NoError(g.t, g.r.WaitFor(testContext(g.t), 0, end))
			require.Equal(g.t, Drifted, g.r.Verify(testContext(g.t))[0].Outcome)
			return end
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newDriftRig(t, 2000, store())
				named := g.names()
				g.start()
				before := g.state()
				g.plane.dispute(true)
				cut := drift(g)
				g.await("the refusal", func() bool { return g.count(RepairRefused) == 1 })
				require.Equal(t, before, g.state())
				g.requireNamed(cut, named())
				require.Zero(t, g.count(Repaired))

				g.lose = false
				g.plane.dispute(false)
				g.await("the repair", func() bool { return g.count(Repaired) == 1 })
				require.Equal(t, g.log.stateAt(0, cut), g.state())
				require.Equal(t, 1, g.count(DriftFound))
				g.log.append(0, "one", "9")
				g.requireState(0)
			})
		})
	}
}

// Who would load a frame instead does so when the dispute is over.
func TestADisputeIsOverForWhoBootstrapsAnew(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store())
		g.cfg.OnDrift = Rebootstrap
		g.start()
		g.plane.dispute(true)
		cut := g.drift(30)
		g.await("the refusal", func() bool { return g.count(RepairRefused) == 1 })
		g.lose = false
		g.plane.dispute(false)
		g.await("the whole frame", func() bool { return g.count(Bootstrapped) == 2 })
		require.Equal(t, g.log.stateAt(0, cut), g.state())
	})
}

// A refusal that was on its way when the dispute ended is no reason to wait for the next frame.
func TestARefusalThatComesLate(t *testing.T) {
	g := newDriftRig(t, 500, Memory()).start()
	g.plane.dispute(true)
	var ended atomic.Bool
	late := func(call string) state.Reason {
		if call == "sketch" && ended.CompareAndSwap(false, true) {
			p := g.r.partitions[0]
			p.mu.Lock()
			before := p.settled
			p.mu.Unlock()
			g.plane.repair.turns.Add(1)
			g.log.changed.notify()
			assert.Eventually(t, func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				return p.settled > before
			}, guard, time.Millisecond)
			return state.Reason_REASON_DISPUTED
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	g.plane.repair.refuse.Store(&late)
	g.awaitRepair(g.drift(30), BySketch)
	require.Equal(t, 1, g.count(RepairRefused))
}

// Who halts names the keys as well, and says that they would not be put right either.
func TestHaltInADispute(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, disputed := range []bool{false, true} {
			t.Run(fmt.Sprint(disputed), func(t *testing.T) {
				g := newDriftRig(t, 500, store())
				g.cfg.OnDrift = Halt
				named := g.names()
				g.start()
				if disputed {
					g.plane.dispute(true)
				}
				cut := g.drift(30)
				g.await("the end", func() bool { return g.count(Stopped) == 1 })
				g.requireNamed(cut, named())
				require.ErrorIs(t, g.r.Err(), ErrDrifted)
				if disputed {
					require.ErrorIs(t, g.r.Err(), ErrUnrepairable)
				} else {
					require.NotErrorIs(t, g.r.Err(), ErrUnrepairable)
				}
				g.plane.dispute(false)
			})
		}
	})
}

// Who halts where a comparison at its own position found the drift names the keys too, whether there is a frame at it, below it or none.
func TestHaltBesideAFrameNamesTheKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, disputed := range []bool{false, true} {
			t.Run(fmt.Sprint(disputed), func(t *testing.T) {
				g := newDriftRig(t, 500, store())
				g.cfg.OnDrift = Halt
				named := g.names()
				g.start()
				if disputed {
					g.plane.dispute(true)
				}
				g.log.mu.Lock()
				g.lose = true
				g.log.mu.Unlock()
				end := g.log.append(0, "k000000001", "x", "k000000002", "-", "new", "1")
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
				require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
				g.await("the end", func() bool { return g.count(Stopped) == 1 })
				g.requireNamed(end, named())
				require.Equal(t, disputed, errors.Is(g.r.Err(), ErrDisputed))
				g.plane.dispute(false)
			})
		}
	})
}

// Rows in memory that have rotted, and stay so in a dispute, are named once, however often a scrub finds them, and again when there are more.
func TestADisputeNamesRottenRowsOnce(t *testing.T) {
	g := newDriftRig(t, 500, Memory())
	named := g.names()
	g.cfg.ScrubRate = -1
	g.start()
	g.awaitVerdict(g.log.cut(0), Equal)
	g.plane.dispute(true)
	refused := 0
	for _, rots := range [][]string{{"k000000007"}, nil, {"k000000008"}, nil} {
		for _, key := range rots {
			g.rot(key)
		}
		require.ErrorIs(t, g.r.Scrub(testContext(t))[0].Err, ErrCorrupt)
		refused++
		g.await("the refusal", func() bool { return g.count(RepairRefused) == refused })
		g.settled()
	}
	var keys []string
	for _, d := range named() {
		keys = append(keys, string(d.Key))
	}
	require.Equal(t, []string{"k000000007", "k000000007", "k000000008"}, keys)
	require.Equal(t, refused, g.count(KeysNamed))

	g.plane.dispute(false)
	g.await("the repair", func() bool { return g.count(Repaired) == 1 })
	g.requireState(0)
	require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
}

// A repair that fails is no reason to load a whole frame of a disputed broker.
func TestARepairThatFailsInADispute(t *testing.T) {
	g := newDriftRig(t, 500, Memory()).start()
	refuse := func(call string) state.Reason {
		if call == "resume" {
			return state.Reason_REASON_DISPUTED
		}
		return state.Reason_REASON_TOO_FAR_ABOVE_FRAME // any that is no reason to give up
	}
	g.plane.repair.refuse.Store(&refuse)
	frames := g.plane.tries.Load()
	g.drift(30)
	g.await("the refusal", func() bool { return g.count(RepairRefused) == 1 })
	require.Equal(t, frames, g.plane.tries.Load())
	require.Equal(t, 1, g.count(Bootstrapped))
}
