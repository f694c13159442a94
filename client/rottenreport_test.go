package client

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
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
			for i, goes := range []string{"on", "and on"} {
				p := g.r.partitions[0]
				g.await("the rows to leave", func() bool { return p.start.Load() == c.start && p.followed() && p.position().Offset >= end })
				end = g.log.append(0, "goes", goes)
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
				if told := g.count(CorruptionFound); i == 0 {
					require.Equal(t, 1, told, "%+v", g.events)
				} else {
					require.LessOrEqual(t, told, 1, "%+v", g.events) // rows that have not left may be found anew
				}
				require.Zero(t, g.count(Stopped), "%+v", g.events)
				require.NoError(t, g.r.Close())
				g.open()
			}
		})
	}
}

// So it does where a frame is needed, since deltas may have been folded onto rows that were gone: it tells of the rows, and begins anew.
func TestReportedRottenRowsOfAStaleState(t *testing.T) {
	const start = 3800
	g := newRig(t, fold.Counter, 1)
	rot := rottenDriftRig{rottenRig: &rottenRig{rig: g, fs: vfs.NewMem(), named: map[string]Difference{}}}
	g.cfg.Store, g.cfg.ScrubRate, g.cfg.OnDrift = DirFS(rot.fs, "replica"), -1, Report
	key := func(i int) string { return fmt.Sprintf("k%09d%0105d", i, i*7919) }
	var kv []string
	for i := range 20_000 {
		kv = append(kv, key(i), "1")
	}
	g.log.append(0, kv...)
	g.log.cut(0)
	require.NoError(t, g.open().Close())
	g.log.append(0, "x", "1")
	thinned := g.log.cutExpiring(0, start)
	g.log.append(0, key(5), "2") // onto a row that has left the log, and not ours
	g.log.thin(0, thinned)
	end := g.log.cut(0)
	require.NotNil(t, rot.rot(rot.bySize()[1], 500_000))
	p := g.r.partitions[0]
	g.await("a frame", func() bool { return p.start.Load() == start && p.followed() && p.position().Offset >= end })
	g.settled()
	require.Equal(t, 1, g.count(CorruptionFound), "%+v", g.events)
	require.Zero(t, g.count(Stopped), "%+v", g.events)
	require.NoError(t, p.rot())
}
