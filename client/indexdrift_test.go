package client

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// rotIndex opens a copy of the directory in which a block of the index is damaged, and no row.
func (g *rottenDriftRig) rotIndex() {
	tables := g.tables()
	bySize := slices.SortedFunc(maps.Keys(tables), func(a, b string) int { return cmp.Compare(tables[b], tables[a]) })
	require.NotNil(g.t, g.rot(bySize[1], 100_000))
	awaitFollowing(g.t, g.r.partitions[0])
}

// requireDrift holds that the keys that are named are those that have drifted, with what was applied of them and what the log has.
func (g *rottenDriftRig) requireDrift(named map[string]Difference, cut int64) {
	g.t.Helper()
	log := g.log.stateAt(0, cut)
	want := map[string]Difference{}
	for _, s := range []map[string]string{g.applied, log} {
		for key := range s {
			d := Difference{Cut: cut, Key: []byte(key)}
			if v, ok := g.applied[key]; ok {
				d.Here = entry(key, v)
			}
			if v, ok := log[key]; ok {
				d.Log = entry(key, v)
			}
			if d.Here != d.Log {
				want[key] = d
			}
		}
	}
	require.NotZero(g.t, want["k000000001"].Here)
	require.Equal(g.t, digest.Entry{}, want["k000000001"].Log)
	require.Len(g.t, named, len(want))
	require.Equal(g.t, want, named)
}

// Where an index cannot be read, and keys have drifted, all of these are named, whatever the policy and however they are found. A repair makes the index anew
// from the rows, which can all be read, and then puts right what differs: it tells both, and no frame is loaded for what a difference tells.
func TestRottenIndexAndDrift(t *testing.T) {
	nothing := func(call string) state.Reason {
		if call == "sketch" || call == "tags" {
			return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	for name, c := range map[string]struct {
		policy Policy
		refuse func(string) state.Reason
		ends   EventKind
		by     []Method
	}{
		"halt":              {policy: Halt, ends: Stopped},
		"report":            {policy: Report, ends: KeysNamed},
		"rebootstrap":       {policy: Rebootstrap, ends: KeysNamed},
		"repair":            {policy: Repair, by: []Method{ByRows, BySketch}},
		"repair by a frame": {policy: Repair, refuse: nothing, by: []Method{ByRows, ByFrame}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, c.policy)
			g.rotIndex()
			if c.refuse != nil {
				g.plane.repair.refuse.Store(&c.refuse)
			}
			cut := g.drift(100)
			if c.policy != Repair {
				g.await("what comes of it", func() bool { return g.count(c.ends) > 0 })
				g.told()
				g.mu.Lock()
				defer g.mu.Unlock()
				g.requireDrift(g.named, cut)
				return
			}
			g.await("the repairs", func() bool { return g.count(Repaired) == 2 })
			g.await("that it is equal", func() bool { return g.last().Outcome == Equal })
			g.told()
			g.mu.Lock()
			defer g.mu.Unlock()
			g.requireDrift(g.named, cut)
			var by []Method
			for _, e := range g.events {
				switch {
				case e.Kind == CorruptionFound:
					require.Empty(t, by)
				case e.Kind == Repaired:
					by = append(by, e.Repair.Method)
					if e.Repair.Method == ByRows {
						require.Equal(t, LocalCorruption, e.Repair.Cause)
						require.Zero(t, e.Repair.Keys)
						continue
					}
					require.Equal(t, LogicalDrift, e.Repair.Cause)
					require.EqualValues(t, len(g.named), e.Repair.Keys)
				}
			}
			require.Equal(t, c.by, by)
			require.Equal(t, g.log.state(0), g.state())
		})
	}
}

// VerifyDir names what has drifted where an index cannot be read, and says what a repair of both takes; where nothing has drifted, or the copy is of no use to
// the log, it says that.
func TestVerifyDirOfRottenIndexAndDrift(t *testing.T) {
	g := newRottenDriftRig(t, Report)
	g.rotIndex()
	cut := g.drift(100)
	g.await("what differs is named", func() bool { return g.count(KeysNamed) > 0 })
	require.NoError(t, g.r.Close())
	d, named := g.verified()
	require.Equal(t, Drifted, d.Outcome)
	require.ErrorIs(t, d.Err, ErrCorrupt)
	require.Equal(t, LogicalDrift, d.Cause, "the rows are what was applied")
	g.requireDrift(named, cut)
	nothing := func(call string) state.Reason { return state.Reason_REASON_TOO_FAR_ABOVE_FRAME }
	g.plane.repair.refuse.Store(&nothing)
	one, named := g.verified()
	require.NoError(t, one.Unnamed)
	g.requireDrift(named, cut)
	g.plane.repair.refuse.Store(nil)

	g.cfg.OnDrift, g.lose = Repair, false
	clear(g.named)
	g.open()
	g.await("the repairs", func() bool { return g.count(Repaired) == 2 })
	done := g.lastRepair()
	require.Equal(t, done.Method, d.Repair.Method)
	require.Equal(t, done.Keys, d.Repair.Keys)
	require.InEpsilon(t, done.Bytes, d.Repair.Bytes, 0.05)
	g.requireDrift(g.named, cut)
}

// What VerifyDir says that damage of the index, or of rows, takes is what happens, where the copy is so far back that the log has no use for it.
func TestVerifyDirOfRottenRowsBelowTheHorizon(t *testing.T) {
	for name, rot := range map[string]func(*rottenDriftRig){"rows": (*rottenDriftRig).rotLargest, "index": (*rottenDriftRig).rotIndex} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, Repair)
			rot(g)
			require.NoError(t, g.r.Close())
			g.log.append(0, "k000000002", "-", "new", "1")
			g.log.cut(0)
			g.log.trim(0)
			g.log.expire(0)
			verdicts, err := VerifyDir(testContext(t), g.cfg)
			require.NoError(t, err)
			d := verdicts[0]
			require.Equal(t, Error, d.Outcome)
			require.ErrorIs(t, d.Err, ErrCorrupt)
			require.Equal(t, ByFrame, d.Repair.Method)
			require.Equal(t, d.Repair.FrameBytes, d.Repair.Bytes)
			g.open()
			g.requireState(0)
			require.Zero(t, g.count(Repaired))
			require.Equal(t, 1, g.count(OutOfRange))
		})
	}
}
