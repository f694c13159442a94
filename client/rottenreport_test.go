package client

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A replica that only reports lets rows go that cannot be read and that the log start has passed, also where that is when it finds them: it tells of them
// once, and follows on, each time that it is opened.
func TestReportedRottenRowsExpire(t *testing.T) {
	const some, all = 3800, 12_000 // row i was written at offset i; some is within the damaged block, all is behind
	for name, c := range map[string]struct {
		start       int64
		later, trim bool
	}{
		"some":                 {start: some},
		"some, at a cut above": {start: some, later: true},
		"all, at a cut above":  {start: all, later: true},
		"all, behind the trim": {start: all, later: true, trim: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, Report)
			if c.later {
				g.log.append(0, "later", "1")
			}
			end := g.log.cutExpiring(0, c.start)
			if c.trim {
				g.log.trim(0)
			}
			require.NotNil(t, g.rot(g.bySize()[0], 500_000))
			for _, goes := range []string{"on", "and on"} {
				p := g.r.partitions[0]
				g.await("the rows to leave", func() bool { return p.start.Load() == c.start && p.followed() && p.position().Offset >= end })
				end = g.log.append(0, "goes", goes)
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
				require.LessOrEqual(t, g.count(CorruptionFound), 1, "%+v", g.events)
				require.Zero(t, g.count(Stopped), "%+v", g.events)
				require.NoError(t, g.r.Close())
				g.open()
			}
		})
	}
}
