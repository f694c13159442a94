package client

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// A stream of frames on which nothing comes any more, with the connection open, does not keep a drift from being found: it is opened again, and what was
// missed is asked for by a call that has an end, should the next streams be held back as well.
func TestASilentStreamOfFrames(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	lose := false
	g.tail.fault = func(s segment) []segment {
		if lose {
			s.records = nil
		}
		return []segment{s}
	}
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.plane.silent.Store(true) // no frame is told to who follows
	g.plane.alive.Store(20)
	g.open()
	g.log.append(0, "b", "1")
	g.requireState(0)
	g.tail.hold()
	lose = true
	g.log.append(0, "lost", "1")
	cut := g.log.cut(0)
	g.tail.release()
	g.awaitVerdict(cut, Drifted)
	require.NoError(t, g.r.Err())
}
