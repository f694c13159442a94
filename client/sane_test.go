package client

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// Rows that a scrub has found rotten, and that are what was applied by the time they are to be put right, have been so by another repair, or were overwritten: no
// repair is told of where nothing differed. What a scrub has read before a repair says nothing of the rows behind it.
func TestNothingIsToldOfARepairWhereNothingDiffered(t *testing.T) {
	for _, stale := range []bool{false, true} {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.OnDrift, g.cfg.ScrubRate, g.cfg.scrubPause = Repair, 1_000_000, time.Hour
		g.plane.interval.Store(never)
		g.log.append(0, "a", "123456", "b", "1")
		g.log.cut(0)
		p := g.open().partitions[0]
		awaitFollowing(t, p)
		g.log.append(0, "b", "2")
		at := g.log.cut(0)
		g.awaitVerdict(at, Equal)
		found := scrubbed{at: at, damage: ErrCorrupt, patched: p.patched.Load()}
		if stale {
			p.patched.Add(1)
		}
		p.corrupted(p.rows(), found)
		if stale {
			require.NoError(t, p.rot())
		} else {
			g.await("looked at", func() bool { return p.rot() == nil })
		}
		require.Equal(t, Equal, p.scrub().Outcome)
		g.awaitVerdict(at, Equal)
		g.told()
		_, corrupt := g.saw(CorruptionFound)
		require.Equal(t, !stale, corrupt)
		_, repaired := g.saw(Repaired)
		require.False(t, repaired)
		require.Zero(t, p.repairs.Load())
	}
}
