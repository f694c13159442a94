package log

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// syncGate holds back the syncs of write-ahead logs.
type syncGate struct {
	mu    sync.RWMutex
	syncs atomic.Int64
}

func newSyncGate() *syncGate { return &syncGate{} }

func (g *syncGate) shut() { g.mu.Lock() }
func (g *syncGate) open() { g.mu.Unlock() }

func (g *syncGate) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if isWALSync(op) {
			g.syncs.Add(1)
			g.mu.RLock()
			defer g.mu.RUnlock()
		}
		return nil
	}))
}

func isWALSync(op errorfs.Op) bool {
	sync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
	return sync && strings.HasSuffix(op.Path, ".log")
}

func (n *node) partMeta() catalog.Partition {
	return catalog.Partition{Ordinal: uint32(n.parts[0].id), Incarnation: n.parts[0].incarnation}
}

// openGated is a node whose syncs the gate holds back, and its only partition.
func openGated(t *testing.T) (*node, *Partition, *syncGate) {
	t.Helper()
	gate := newSyncGate()
	n := openNode(t, nodeConfig{fs: gate.wrap(vfs.NewMem())})
	return n, n.parts[0], gate
}
