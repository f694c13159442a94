package log

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// A crash at any write while an incarnation is renewed leaves the old one or the new one, and the catalog and the log agree on it.
func TestRenewIncarnationAtomically(t *testing.T) {
	for _, written := range []bool{true, false} {
		for left := int64(1); ; left++ {
			mem := vfs.NewCrashableMem()
			var armed atomic.Bool
			var count atomic.Int64
			var image atomic.Pointer[vfs.MemFS]
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && count.Add(1) == left {
					image.Store(mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100 * int(left%2), RNG: rand.New(rand.NewPCG(uint64(left), 1))}))
				}
				return nil
			}))
			n := openNode(t, nodeConfig{fs: fs, partitions: 2})
			p := n.parts[0]
			if written {
				appendWait(t, p, rec{})
				appendWait(t, p, rec{})
			}
			before := p.Incarnation()
			topic, _ := n.cat.Get("t")
			armed.Store(true)
			after, err := p.RenewIncarnation(t.Context(), func() ([16]byte, error) { return n.cat.RenewIncarnation(topic.ID, 0) })
			armed.Store(false)
			require.NoError(t, err)
			require.NotEqual(t, before, after)
			require.Equal(t, after, p.Incarnation())
			crash := image.Load()
			crashed := crash != nil
			if !crashed {
				crash = mem.CrashClone(vfs.CrashCloneCfg{})
			}
			if written {
				require.NoError(t, p.TrimTo(t.Context(), 1))
			} else {
				appendWait(t, p, rec{})
			}
			n.close()
			n = openNode(t, nodeConfig{fs: mem, partitions: 2}) // what a trim or a first append writes agrees too
			require.Equal(t, after, n.parts[0].Incarnation())
			n.close()

			n = openNode(t, nodeConfig{fs: crash, partitions: 2})
			found := n.parts[0].Incarnation()
			n.close()
			if !crashed {
				require.Equal(t, after, found, "durable when it returns")
				require.Greater(t, left, int64(1))
				break
			}
			require.Contains(t, [][16]byte{before, after}, found)
		}
	}
}

func TestRenewIncarnationErrors(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem()})
	p := n.parts[0]
	before := p.Incarnation()
	known, _ := n.cat.Get("t")
	for topic, index := range map[[16]byte]int32{{1}: 0, known.ID: 1} {
		_, err := p.RenewIncarnation(t.Context(), func() ([16]byte, error) { return n.cat.RenewIncarnation(topic, index) })
		require.Error(t, err)
		require.Equal(t, before, p.Incarnation())
	}
	require.NoError(t, n.store.DropPartition(0))
	_, err := p.RenewIncarnation(t.Context(), nil)
	require.ErrorIs(t, err, ErrClosed)
	n.close()
}
