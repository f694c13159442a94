package client

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/crashfs"
)

// photographer keeps what a crash would leave before each write to a file system.
type photographer struct {
	fs  *crashfs.FS
	rnd *rand.Rand

	mu     sync.Mutex
	armed  bool
	images []*crashfs.FS
}

func (p *photographer) arm(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = on
}

func (p *photographer) String() string { return "photographer" }

func (p *photographer) MaybeError(op errorfs.Op) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && len(p.images) < 200 {
		p.images = append(p.images, p.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.rnd.IntN(101), RNG: rand.New(rand.NewPCG(p.rnd.Uint64(), 1))}))
	}
	return nil
}

// Wherever a crash comes while a repair is applied: the directory has the state that was wrong, or the right one, whole; and the next run makes the one
// into the other.
func TestCrashWhileARepairIsApplied(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	camera := &photographer{fs: crashfs.New(), rnd: rand.New(rand.NewPCG(seed, 1))}
	g := newDriftRig(t, 300, DirFS(errorfs.Wrap(camera.fs, camera), "replica")).start()
	found := func(rows []*state.Row) []*state.Row {
		camera.arm(true)
		return rows
	}
	g.plane.repair.rows.Store(&found)
	wrong := g.state()
	cut := g.drift(60)
	g.awaitRepair(cut, BySketch)
	camera.arm(false)
	right := g.log.stateAt(0, cut)
	require.NoError(t, g.r.Close())
	require.Greater(t, len(camera.images), 5)
	wasWrong, wasRight := 0, 0
	for _, image := range camera.images {
		cfg := g.cfg.withDefaults()
		cfg.Store = DirFS(image, "replica")
		s, err := openDirStores(cfg)
		require.NoError(t, err)
		r, ok, err := s.open(0)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, cut, r.position())
		stored, kept, _, err := r.scrub()
		require.NoError(t, err)
		require.Equal(t, kept, stored)
		got := map[string]string{}
		for row, err := range r.all() {
			require.NoError(t, err)
			got[string(row.Key)] = string(row.Value)
		}
		if len(got) == len(wrong) && got["k000000001"] == wrong["k000000001"] {
			require.Equal(t, wrong, got)
			wasWrong++
		} else {
			require.Equal(t, right, got)
			wasRight++
		}
		require.NoError(t, r.close())
		require.NoError(t, s.close())
	}
	require.NotZero(t, wasWrong)
	t.Logf("%d images: wrong %d, right %d", len(camera.images), wasWrong, wasRight)
	for i := 0; i < len(camera.images); i += 1 + len(camera.images)/4 {
		g.cfg.Store = DirFS(camera.images[i], "replica")
		g.open()
		g.await("the right state", func() bool { return len(g.state()) == len(right) && g.state()["k000000001"] == right["k000000001"] })
		require.Equal(t, right, g.state())
		require.NoError(t, g.r.Close())
	}
}
