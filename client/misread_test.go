package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// misread has a scrub find rows rotten that are what was applied: it has read a bit wrongly.
func (g *rig) misread() {
	p := g.r.partitions[0]
	stored, kept, at, err := p.rows().scrub()
	require.NoError(g.t, err)
	require.Equal(g.t, kept, stored)
	stored.Sum.Add([32]byte{31: 1})
	p.corrupted(p.rows(), scrubbed{stored: stored, kept: kept, at: at, damage: ErrCorrupt, patched: p.patched.Load()})
}

// settled waits until a partition is followed and no comparison is due.
func (g *rig) settled() {
	p := g.r.partitions[0]
	g.await("rest", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.following && len(p.restart) == 0 && p.checks.Load() == 0
	})
	g.told()
}

// reportRig is a replica in memory that reports what differs, with how often each key was named. Nothing but what a test does has it scrubbed or compared.
type reportRig struct {
	*driftRig
	named map[string]int
}

// newReportRig is one that is equal at a frame, whose cut comes with it.
func newReportRig(t *testing.T) (g *reportRig, cut int64) {
	g = &reportRig{newDriftRig(t, 500, Memory()), map[string]int{}}
	g.cfg.OnDrift, g.cfg.ScrubRate = Report, -1
	g.cfg.OnDifference = func(d Difference) { g.named[string(d.Key)]++ }
	g.plane.interval.Store(never)
	g.start()
	awaitFollowing(t, g.r.partitions[0])
	g.log.append(0, "b", "2")
	cut = g.log.cut(0)
	g.awaitVerdict(cut, Equal)
	return g, cut
}

// Rows that a scrub has read wrongly are known to be right once they are hashed anew to name them: nothing is named, the replica is equal again, and no frame or
// scrub is needed for that.
func TestWhatWasReadWronglyIsNotRotten(t *testing.T) {
	g, cut := newReportRig(t)
	g.misread()
	g.await("the word that it is equal", func() bool {
		v := g.last()
		return v.Outcome == Equal && !v.Scrub && g.count(CorruptionFound) == 1 || g.count(KeysNamed) > 1
	})
	g.settled()
	require.Equal(t, 1, g.count(KeysNamed))
	require.NoError(t, g.r.partitions[0].rot())
	g.awaitTold("that it is equal", func(x *state.ReplicaPartition) bool {
		return x.Outcome == state.Outcome_OUTCOME_EQUAL && x.Compared.Offset == cut
	})
	g.log.append(0, "c", "1")
	g.awaitVerdict(g.log.cut(0), Equal)
	require.Equal(t, 1, g.count(CorruptionFound))
}

// Where keys have drifted beside them, these are named, once, and that is drift.
func TestDriftBesideWhatWasReadWronglyIsDrift(t *testing.T) {
	g, _ := newReportRig(t)
	lose := func(lost bool) {
		g.log.mu.Lock()
		defer g.log.mu.Unlock()
		g.lose = lost
	}
	lose(true)
	require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "k000000001", "lost", "k000000002", "lost")))
	lose(false)
	g.misread()
	g.await("the word that it has drifted", func() bool { return g.count(DriftFound) > 0 })
	g.settled()
	g.log.append(0, "c", "1")
	g.awaitVerdict(g.log.cut(0), Drifted)
	g.settled()
	require.Equal(t, map[string]int{"k000000001": 1, "k000000002": 1}, g.named)
}

// A log that says now that the replica differs and now, when its keys are to be named, that it does not, is not asked again and again: the next frame tells.
func TestALogThatSaysNowThisAndNowThat(t *testing.T) {
	g, _ := newReportRig(t)
	asked := g.plane.asked.Load()
	wrong := func(d digest.Digest) digest.Digest {
		if (g.plane.asked.Load()-asked)%2 == 1 {
			d.Sum.Add([32]byte{31: 1})
		}
		return d
	}
	g.plane.says.Store(&wrong)
	require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
	g.await("it was looked for twice", func() bool { return g.count(KeysNamed) >= 2 })
	g.settled()
	g.log.append(0, "c", "1")
	g.awaitVerdict(g.log.cut(0), Equal)
	g.settled()
	require.EqualValues(t, 4, g.plane.asked.Load()-asked)
	require.Equal(t, 2, g.count(KeysNamed))
}
