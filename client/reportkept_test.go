package client

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// requireToldKept requires that the broker was told last that a partition has ended, and where its copy stands.
func (g *rig) requireToldKept(at int64, outcome state.Outcome, verified int64) {
	g.t.Helper()
	parts := g.plane.parts()
	require.NotEmpty(g.t, parts)
	x := parts[len(parts)-1]
	require.Equal(g.t, state.PhaseHalted, x.Phase)
	require.Equal(g.t, at, x.Position)
	require.Equal(g.t, verified, x.Verified)
	require.Equal(g.t, outcome, x.Outcome, x.Reason)
	require.Equal(g.t, at, x.Compared.GetOffset())
	require.Contains(g.t, x.Reason, "stays as it is")
	id := g.log.parts[0].incarnation
	require.Equal(g.t, id[:], x.Incarnation)
}

// A copy that no frame may take the place of is told of as it is, though it is not followed: where it stands, where it was equal last, and that it differs.
func TestACopyThatHaltedIsToldOf(t *testing.T) {
	g := newDriftRig(t, 500, DirFS(vfs.NewMem(), "replica"))
	at := g.halted()
	cuts, err := dirCuts(g.rig)
	require.NoError(t, err)
	want := g.onDisk()
	g.below()
	g.plane.interval.Store(never)
	g.requireRefused(ErrDrifted, at, want)
	g.requireToldKept(at, state.Outcome_OUTCOME_DRIFTED, cuts[0].offset)
	g.plane.dispute(true)
	g.requireRefused(ErrDisputed, at, want)
	g.requireToldKept(at, state.Outcome_OUTCOME_DRIFTED, cuts[0].offset)
}

// Where it is only disputed, nothing can be said of it: its position is gone from the log.
func TestADisputedCopyIsToldOf(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	at := g.stored()
	cuts, err := dirCuts(g)
	require.NoError(t, err)
	require.NotEmpty(t, cuts)
	want := g.onDisk()
	g.plane.dispute(true)
	g.below()
	g.plane.interval.Store(never)
	g.requireRefused(ErrDisputed, at, want)
	g.requireToldKept(at, state.Outcome_OUTCOME_INCONCLUSIVE, cuts[0].offset)
}

// One that is found to differ just now differs, whoever is right.
func TestADisputedCopyThatDiffersIsToldOf(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	at := g.stored()
	want := g.onDisk()
	g.plane.dispute(true)
	g.spy(func(_ int, m *state.ResumeResponse) {
		m.Answer, m.Partition.DeltaStartOffset = state.Answer_ANSWER_REPAIR, 1<<40
	})
	g.plane.interval.Store(never)
	g.requireRefused(ErrDisputed, at, want)
	parts := g.plane.parts()
	require.Equal(t, state.Outcome_OUTCOME_DRIFTED, parts[len(parts)-1].Outcome)
	require.Equal(t, at, parts[len(parts)-1].Position)
}

// dirCuts are the verified cuts that a directory has of the only partition.
func dirCuts(g *rig) ([]verifiedCut, error) {
	s, sick, err := openDirReadOnly(g.cfg.withDefaults())
	require.NoError(g.t, sick)
	require.NoError(g.t, err)
	cuts, err := s.verified(0)
	require.NoError(g.t, s.close())
	return cuts, err
}
