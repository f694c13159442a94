package client

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// A partition that pauses, because there is too much to tell, hears of what is found meanwhile: it counts when the pause is over.
func TestWhatIsFoundInAPauseCounts(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.OnDrift, g.cfg.ScrubRate = Halt, -1
	held := make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	verdict := g.cfg.OnVerdict
	g.cfg.OnVerdict = func(v Verdict) {
		verdict(v)
		<-held
	}
	g.log.append(0, "a", "1")
	g.log.cut(0)
	r, err := openReplica(testContext(t), g.cfg.withDefaults(), newFakeTail(g.log))
	require.NoError(t, err)
	g.r = r
	t.Cleanup(func() { release(); _ = r.Close() })
	p := r.partitions[0]
	answer, asked := make(chan struct{}), make(chan struct{})
	hold := func() { close(asked); <-answer }
	g.plane.before.Store(&hold)
	p.askNow()
	<-asked // its goroutine waits for the state plane
	for len(p.behind) == 0 {
		end := g.log.append(0, "b", "1")
		g.log.cut(0)
		require.Eventually(t, func() bool { return len(p.behind) > 0 || p.position().Offset >= end }, guard, time.Millisecond)
	}
	row, ok, err := r.Get(testContext(t), []byte("a"))
	require.NoError(t, err)
	require.True(t, ok)
	row.Value[0] ^= 1 // a row that was given out is the one that is stored
	require.Equal(t, Drifted, p.scrub().Outcome)
	close(answer)
	release()
	<-p.stopped
	require.ErrorIs(t, r.Err(), ErrCorrupt)
}
