package keyframer_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
)

// max.compaction.lag.ms bounds how long a delta stays raw while others follow it: frames are cut and trimmed to in time, however rarely and late
// the topic's other configs say, also if transactions straddle every offset, and few frames are kept. Without it nothing goes. The last batch stays,
// and so does what came since the frame below it.
func TestMaxCompactionLag(t *testing.T) {
	const lag, step = 80_000, 2_000
	for _, c := range []struct {
		name          string
		retain        int
		transactional bool
		lagMs, cutMs  int64
	}{
		{"alone", 24, false, lag, lag/6 + 3*step}, {"few frames", 2, false, lag, lag/6 + 3*step}, {"transactions", 24, true, lag, lag/3 + 3*step},
		{"no lag", 24, false, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNode(t, keyframer.Config{})
			s := calm()
			s.IntervalMs, s.Retain, s.MaxCompactionLagMs = 3_600_000, c.retain, c.lagMs
			l := n.add(fold.LastValue, s, 1)[0]
			came := map[int64]int64{} // by the offset of a batch, when it came
			oldest := func() (ageMs int64) {
				now := n.clock.Now().UnixMilli()
				for offset, ms := range came {
					if offset >= l.Bounds().DeltaStart {
						ageMs = max(ageMs, now-ms)
					}
				}
				return ageMs
			}
			for i := range int64(3 * lag / step) {
				came[l.Bounds().LogEnd] = n.clock.Now().UnixMilli()
				if c.transactional {
					l.AppendIn(i+1, memlog.Put(fmt.Sprint(i%7), "v"))
					if i > 0 {
						l.End(i, true)
					}
				} else {
					l.Append(memlog.Put(fmt.Sprint(i%7), "v"))
				}
				n.clock.advance(step * time.Millisecond)
				n.settle(s)
				n.applied()
				if c.lagMs > 0 {
					n.eventually("a cut", func() bool { // the clock must not run away from who cuts
						frames := n.table(0).Frames()
						return len(frames) > 0 && n.clock.Now().UnixMilli()-frames[len(frames)-1].CutTimeMs < c.cutMs || step*i < c.cutMs
					})
					n.eventually("old deltas are trimmed", func() bool { return oldest() <= lag })
				}
			}
			if c.lagMs == 0 {
				require.Zero(t, l.Bounds().DeltaStart)
				require.Empty(t, n.table(0).Frames())
			}
			require.NoError(t, n.partition(0).Failure())
		})
	}
}
