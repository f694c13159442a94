package client

import (
	"fmt"
	"io"
	"os"
	"path"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// A running replica of which a file is cut short, or is not given by the disk, finds that as it finds a block with a wrong checksum: it says which file, and has
// proved its state again at the next frame.
func TestAFileOfARunningReplicaIsCutShort(t *testing.T) {
	for what, failure := range map[string]error{"it is cut short": io.EOF, "the disk does not give it": &os.PathError{Op: "read", Path: "f", Err: syscall.EIO}} {
		t.Run(what, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			mem := vfs.NewMem()
			var lost atomic.Pointer[map[string]bool] // files, from a place behind their head on
			g.cfg.Store = DirFS(errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if files := lost.Load(); files != nil && op.Kind == errorfs.OpFileReadAt && op.Offset > 20_000 && (*files)[op.Path] {
					return failure
				}
				return nil
			})), "replica")
			g.cfg.ScrubRate = -1
			kv := make([]string, 0, 20_000)
			for i := range 10_000 {
				kv = append(kv, fmt.Sprintf("k%09d", i), fmt.Sprintf("y%0104d", i))
			}
			g.log.append(0, kv...)
			g.log.cut(0)
			require.NoError(t, g.open().Close())
			g.open()
			names, err := mem.List("replica/table")
			require.NoError(t, err)
			files := map[string]bool{}
			for _, name := range names {
				files["replica/table/"+name] = path.Ext(name) == ".sst"
			}
			lost.Store(&files)
			g.log.append(0, "k000005000", "changed", "k000009000", "-", "k000001000", "changed")
			g.log.cut(0)
			g.await("that it is found", func() bool { _, ok := g.saw(CorruptionFound); return ok })
			e, _ := g.saw(CorruptionFound)
			require.ErrorIs(t, e.Err, ErrCorrupt)
			require.Regexp(t, `replica/table/\d+\.sst is damaged: `+what, e.Err.Error())
			require.NotContains(t, e.Err.Error(), "\n")
			g.await("another state", func() bool { return g.count(Bootstrapped) == 2 })
			g.log.append(0, "another", "1")
			g.awaitVerdict(g.log.cut(0), Equal)
			g.requireState(0)
			require.NoError(t, g.r.Err())
		})
	}
}
