package client

import (
	"fmt"
	"path"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/damage"
)

// A running replica beside whose damage nothing can be loaded says that it is to be opened again, and that the tables are set aside then: so it is, whether
// opening them meets that damage or not, and VerifyDir says so.
func TestReplicaIsToBeOpenedAgain(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	var failing atomic.Bool
	fs := vfs.NewMem()
	g.cfg.Store = DirFS(errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if failing.Load() && op.Kind == errorfs.OpCreate && path.Ext(op.Path) == ".sst" {
			return &damage.Error{Path: "replica/table/000004.sst", Offset: -1, Why: "it is cut short"}
		}
		return nil
	})), "replica")
	g.cfg.ScrubRate = -1
	g.log.append(0, "a", "1", "b", "1")
	g.log.cut(0)
	cfg := g.cfg.withDefaults()
	r, err := openReplica(testContext(t), cfg, g.tail)
	require.NoError(t, err)
	g.r = r
	failing.Store(true)
	g.log.append(0, "a", "2")
	g.log.cut(0)
	g.await("that it stops", func() bool { _, ok := g.saw(Stopped); return ok })
	require.ErrorIs(t, r.Err(), ErrReopen)
	require.ErrorIs(t, r.Err(), ErrCorrupt)
	require.NotContains(t, r.Err().Error(), "\n")
	require.ErrorContains(t, r.Close(), "it is cut short", "what was applied cannot be committed")
	failing.Store(false)
	said, err := VerifyDir(testContext(t), g.cfg)
	require.NoError(t, err)
	require.ErrorContains(t, said[0].Err, "sets replica/table aside")

	g.cfg.OnDrift = Report // which leaves things as they are
	g.mu.Lock()
	g.events = nil
	g.mu.Unlock()
	r = g.open()
	require.Zero(t, g.count(CorruptionFound))
	require.NoError(t, r.Close())
	g.cfg.OnDrift = Repair
	for _, aside := range []bool{true, false} { // once
		g.mu.Lock()
		g.events = nil
		g.mu.Unlock()
		r = g.open()
		require.Equal(t, aside, g.count(CorruptionFound) == 1)
		g.log.append(0, "b", fmt.Sprint(aside))
		g.awaitVerdict(g.log.cut(0), Equal)
		g.requireState(0)
		require.NoError(t, r.Close())
	}
	_, err = fs.Stat("replica/table.damaged")
	require.NoError(t, err)
}
