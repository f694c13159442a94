package client

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// below overwrites what there is, and leaves nothing of the log but a frame.
func (g *rig) below() (cut int64) {
	g.overwrite("b")
	cut = g.overwrite("c")
	g.log.trim(0)
	g.log.expire(0)
	return cut
}

// requireRefused opens the replica, which must not have a frame take the place of its copy, and returns why.
func (g *rig) requireRefused(why error, at int64, want map[string]string) *ReplaceRefusedError {
	g.t.Helper()
	frames := g.plane.tries.Load()
	_, err := openReplica(testContext(g.t), g.cfg.withDefaults(), g.tail)
	var stopped *PartitionError
	require.ErrorAs(g.t, err, &stopped)
	require.Equal(g.t, at, stopped.Offset)
	var refused *ReplaceRefusedError
	require.ErrorAs(g.t, err, &refused)
	require.ErrorIs(g.t, refused, why)
	require.Equal(g.t, at, refused.Position)
	require.Equal(g.t, frames, g.plane.tries.Load(), "nothing is loaded")
	require.Equal(g.t, want, g.onDisk())
	return refused
}

// onDisk is what the directory has of the only partition.
func (g *rig) onDisk() map[string]string {
	g.t.Helper()
	s, sick, err := openDirReadOnly(g.cfg.withDefaults())
	require.NoError(g.t, errors.Join(err, sick))
	rows, ok, err := s.open(0)
	require.NoError(g.t, err)
	require.True(g.t, ok)
	out := map[string]string{}
	for row, err := range rows.all() {
		require.NoError(g.t, err)
		out[string(row.Key)] = string(row.Value)
	}
	require.NoError(g.t, s.close())
	return out
}

// In a dispute who has no state takes the broker's word: there is no other.
func TestADisputedBrokerIsFollowed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.dispute(true)
		g.lagging()
		g.tail.release()
		g.requireState(0)
		require.Equal(t, 1, g.count(Bootstrapped))
		require.Zero(t, g.count(RepairRefused))
	})
}

// In a dispute no frame takes the place of a copy that the log does not go on from either, whatever the policy: a replica that runs stops, one that is opened
// is refused, and both say where the copy stands. Once that is settled the frame is loaded.
func TestNoFrameInPlaceOfADisputedCopy(t *testing.T) {
	for name, policy := range map[string]Policy{"repair": Repair, "report": Report, "halt": Halt, "rebootstrap": Rebootstrap} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newRig(t, fold.LastValue, 1)
				g.cfg.Store, g.cfg.OnDrift = store(), policy
				g.lagging()
				at, want := g.r.Positions()[0].Offset, g.state()
				g.plane.dispute(true)
				cut := g.below()
				g.tail.release()
				g.await("the end", func() bool { return g.count(Stopped) == 1 })
				var refused *ReplaceRefusedError
				require.ErrorAs(t, g.r.Err(), &refused)
				require.Equal(t, ReplaceRefusedError{Position: at, Frame: cut, Why: ErrDisputed}, *refused)
				require.ErrorContains(t, g.r.Err(), "open it again when that is settled")
				require.Equal(t, want, g.state(), "it is still there for readers")
				require.Equal(t, 1, g.count(Bootstrapped))
				require.NoError(t, g.r.Close())
				if g.cfg.Store.dir == "" {
					return
				}
				require.Equal(t, cut, g.requireRefused(ErrDisputed, at, want).Frame)
				g.plane.old.Store(true) // and of a broker of before the handshake
				g.requireRefused(ErrDisputed, at, want)
				g.plane.old.Store(false)
				g.plane.dispute(false)
				g.open()
				g.requireState(0)
			})
		})
	}
}

// Nor where the state is ahead of the log or, by an older answer, has a point that differs, and the position is gone.
func TestNoFrameInPlaceOfADisputedCopyForAnyReason(t *testing.T) {
	for name, alter := range map[string]func(try int, m *state.ResumeResponse){
		"from the future": func(_ int, m *state.ResumeResponse) {
			m.Answer, m.Reason = state.Answer_ANSWER_RESET, state.Reason_REASON_FUTURE_POSITION
		},
		"and no frame yet": func(try int, m *state.ResumeResponse) {
			if try == 1 {
				m.Answer, m.Reason, m.Frame = state.Answer_ANSWER_RESET, state.Reason_REASON_FUTURE_POSITION, nil
			}
		},
		"and no frame": func(try int, m *state.ResumeResponse) {
			if m.Frame = nil; try == 1 {
				m.Answer, m.Reason = state.Answer_ANSWER_RESET, state.Reason_REASON_FUTURE_POSITION
			} else {
				m.Answer, m.From = state.Answer_ANSWER_CONTINUE, 0
			}
		},
		"a point differs": func(_ int, m *state.ResumeResponse) {
			m.Answer, m.Partition.DeltaStartOffset = state.Answer_ANSWER_REPAIR, 1<<40
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			at := g.stored()
			want := g.onDisk()
			g.plane.dispute(true)
			g.below()
			a := g.spy(alter)
			g.requireRefused(ErrDisputed, at, want)
			require.NotEmpty(t, a.all())
		})
	}
}

// What was applied of a log that was created anew since is of no use, whatever is disputed, or was found of it.
func TestAFrameOfAnotherLogTakesThePlaceOfAnyCopy(t *testing.T) {
	g := newDriftRig(t, 500, DirFS(vfs.NewMem(), "replica"))
	g.halted()
	g.plane.dispute(true)
	g.log.create(2, 1)
	g.log.append(0, "x", "1")
	g.log.cut(0)
	g.open()
	g.requireState(0)
	require.Zero(t, g.r.stores.haltedAt(0))
}

// halted is a replica that has drifted, has halted and is closed.
func (g *driftRig) halted() (at int64) {
	g.cfg.OnDrift = Halt
	g.start()
	at = g.drift(30)
	g.await("the end", func() bool { return g.count(Stopped) == 1 })
	require.ErrorIs(g.t, g.r.Err(), ErrDrifted)
	require.NoError(g.t, g.r.Close())
	g.lose = false
	return at
}

// A replica that has halted because it differs is not made equal by being opened again when the log no longer goes on from it; with another policy it is.
func TestNoFrameInPlaceOfACopyThatHalted(t *testing.T) {
	for name, policy := range map[string]Policy{"repair": Repair, "report": Report, "rebootstrap": Rebootstrap} {
		t.Run(name, func(t *testing.T) {
			g := newDriftRig(t, 500, DirFS(vfs.NewMem(), "replica"))
			at := g.halted()
			want := g.onDisk()
			require.NotEqual(t, g.log.stateAt(0, at), want)
			g.below()
			for range 2 {
				require.ErrorContains(t, g.requireRefused(ErrDrifted, at, want), "open it with another policy than Halt")
			}
			g.cfg.OnDrift = policy
			g.open()
			g.requireState(0)
			require.NoError(t, g.r.Close())

			g.cfg.OnDrift = Halt
			g.overwrite("d")
			g.below()
			g.open() // nothing is known of what was loaded
			g.requireState(0)
		})
	}
}

// Without a state plane, too, it stays as it is: what the log still holds does not take its place.
func TestNothingInPlaceOfACopyThatHaltedWithoutAPlane(t *testing.T) {
	g := newDriftRig(t, 500, DirFS(vfs.NewMem(), "replica"))
	at := g.halted()
	want := g.onDisk()
	g.below()
	g.cfg.StateURL, g.cfg.From = "", FromEarliest
	g.forget()
	g.open()
	g.await("the end", func() bool { return g.count(Stopped) == 1 })
	var refused *ReplaceRefusedError
	require.ErrorAs(t, g.r.Err(), &refused)
	require.Equal(t, at, g.r.stores.haltedAt(0))
	require.NoError(t, g.r.Close())
	require.Equal(t, want, g.onDisk())
	g.cfg.OnDrift = Report
	g.open()
	g.requireState(0)
}

// That a copy differed is over when it is equal to the log at its position, or above: repaired, or by what followed in the log.
func TestACopyThatIsEqualAgainIsReplaced(t *testing.T) {
	for name, policy := range map[string]Policy{"repaired": Repair, "overwritten": Report} {
		t.Run(name, func(t *testing.T) {
			g := newDriftRig(t, 4, DirFS(vfs.NewMem(), "replica"))
			g.only = true
			at := g.halted()
			g.forget()
			if g.cfg.OnDrift = policy; policy == Report {
				g.open()
				g.await("it differs", func() bool { return g.count(DriftFound) == 1 })
				g.r.partitions[0].equalAt(at - 1)
				require.Equal(t, at, g.r.stores.haltedAt(0), "it was equal before")
				var end int64
				for i := range 4 {
					end = g.log.append(0, fmt.Sprintf("k%09d", i), "x")
				}
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
				g.awaitVerdict(g.log.cut(0), Equal)
			} else {
				g.open()
				g.await("the repair", func() bool { return g.count(Repaired) == 1 })
			}
			require.Zero(t, g.r.stores.haltedAt(0))
			require.NoError(t, g.r.Close())
			g.cfg.OnDrift = Halt
			g.below()
			g.open()
			g.requireState(0)
		})
	}
}

// So it is when what has changed in the log brings it to the log's state, which is proved, though nobody compares them afterwards.
func TestACopyThatHasCaughtUpIsReplaced(t *testing.T) {
	g := newDriftRig(t, 4, DirFS(vfs.NewMem(), "replica"))
	g.only = true
	g.halted()
	for i := range 4 {
		g.log.append(0, fmt.Sprintf("k%09d", i), "x")
	}
	g.log.cut(0)
	g.log.trim(0)
	g.plane.silent.Store(true)
	g.forget()
	g.open()
	g.requireState(0)
	g.await("it has caught up", func() bool { return g.count(CaughtUp) == 1 })
	require.Zero(t, g.r.stores.haltedAt(0))
	require.NoError(t, g.r.Close())
	g.below()
	g.open()
	g.requireState(0)
}

// A copy that is found to differ only when the log no longer goes on from it stays as it is too where the policy is to halt, after another start as well.
func TestHaltWhereAPointDiffers(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	at := g.stored()
	g.cfg.OnDrift = Halt
	want := g.onDisk()
	g.log.rewrite(0, "k1", "z")
	g.spy(func(_ int, m *state.ResumeResponse) { m.Partition.DeltaStartOffset = 1 << 40 })
	g.requireRefused(ErrDrifted, at, want)
	g.plane.alter.Store(nil)
	g.below()
	g.requireRefused(ErrDrifted, at, want)
}
