package client

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/crashfs"
)

// crashDriftRig is a driftRig in a directory of which a photographer takes what a crash would leave.
func crashDriftRig(t *testing.T) (*driftRig, *photographer) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	camera := &photographer{fs: crashfs.New(), rnd: rand.New(rand.NewPCG(seed, 1))}
	g := newDriftRig(t, 500, DirFS(errorfs.Wrap(camera.fs, camera), "replica"))
	g.cfg.ScrubRate = -1
	return g, camera
}

// holds tells whether the directory of a file system has the state of the log at a cut, all of which can be read.
func (g *driftRig) holds(fs *crashfs.FS, cut int64) bool {
	g.t.Helper()
	cfg := g.cfg.withDefaults()
	cfg.Store = DirFS(fs, "replica")
	s, err := openDirStores(cfg)
	require.NoError(g.t, err)
	defer func() { require.NoError(g.t, s.close()) }()
	r, ok, err := s.open(0)
	require.NoError(g.t, err)
	require.True(g.t, ok)
	got := map[string]string{}
	for row, err := range r.all() {
		if err != nil {
			require.True(g.t, unreadable(err), "%v", err)
			return false
		}
		got[string(row.Key)] = string(row.Value)
	}
	return r.position() == cut && maps.Equal(got, g.log.stateAt(0, cut))
}

// Whoever was told of a state that was wrong begins anew also where the process that put it right has ended since, wherever it was killed.
func TestWatchersOfARepairBeforeARestart(t *testing.T) {
	drift := func(g *driftRig, camera *photographer) (cut int64) {
		g.start()
		camera.arm(true)
		return g.drift(40)
	}
	rotten := func(g *driftRig, camera *photographer) (cut int64) {
		g.start()
		cut = g.log.cut(0)
		require.NoError(g.t, g.r.Close())
		rot(g.t, camera.fs, "replica/table", fmt.Sprintf("y%0104d", 250))
		g.open()
		g.awaitVerdict(cut, Equal)
		camera.arm(true)
		require.ErrorIs(g.t, g.r.Scrub(testContext(g.t))[0].Err, ErrCorrupt)
		return cut
	}
	refuse := func(call string) state.Reason {
		if call == "resume" {
			return state.Reason_REASON_UNSPECIFIED
		}
		return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
	}
	for name, c := range map[string]struct {
		wrong func(*driftRig, *photographer) (cut int64)
		whole bool // nothing but whole frames is to be had
		by    Method
	}{
		"by sketch":                   {drift, false, BySketch},
		"by frame":                    {drift, true, ByFrame},
		"of rows that cannot be read": {rotten, false, ByIndex},
	} {
		t.Run(name, func(t *testing.T) {
			g, camera := crashDriftRig(t)
			if c.whole {
				g.plane.repair.refuse.Store(&refuse)
			}
			cut := c.wrong(g, camera)
			g.awaitRepair(cut, c.by)
			camera.arm(false)
			require.NoError(t, g.r.Close())
			g.lose = false
			require.Less(t, len(camera.images), 200, "each write is on one")
			var before, after []*crashfs.FS // of the note
			for _, image := range camera.images {
				noted, err := readDirState(image, "replica", g.log.topic)
				require.NoError(t, err)
				if noted.Partitions[0].Distrusted == cut {
					after = append(after, image)
				} else {
					before = append(before, image)
				}
			}
			require.NotEmpty(t, before)
			for _, image := range before[max(0, len(before)-3):] {
				require.False(t, g.holds(image, cut), "what was put right is there, and nothing that says so")
			}
			ended := sort.Search(len(after), func(i int) bool { return g.holds(after[i], cut) })
			require.Less(t, ended, len(after))
			t.Logf("images: %d before the note, %d before the repair, %d", len(before), ended, len(after)-ended)
			for _, fs := range []*crashfs.FS{after[ended], camera.fs} {
				g.cfg.Store = DirFS(fs, "replica")
				g.open()
				for _, at := range []int64{cut - 1, cut} {
					g.requireReset(Position{Incarnation: g.log.parts[0].incarnation, Offset: at})
				}
				end := g.log.append(0, "later", fmt.Sprint(cut))
				g.requireState(0)
				at := g.r.Positions()
				require.Equal(t, end, at[0].Offset)
				g.requireReset(Position{Incarnation: g.log.parts[0].incarnation, Offset: cut})
				end = g.log.append(0, "more", "1")
				require.Equal(t, map[string]string{"more": "1"}, g.watched(at, end).state, "who was told since goes on")
				require.NoError(t, g.r.Close())
			}
		})
	}
}
