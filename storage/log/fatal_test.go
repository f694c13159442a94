package log

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

// EIO on the n-th sync of the write-ahead log: the process is told to stop, once; nothing unsynced was
// acknowledged; what was acknowledged is there after a clean start.
func TestSyncFailureStops(t *testing.T) {
	errDisk := errors.New("input/output error")
	for failAt := int64(1); failAt <= 40; failAt++ {
		mem := vfs.NewCrashableMem()
		var armed atomic.Bool
		var syncs, fatals atomic.Int64
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if armed.Load() && isWALSync(op) && syncs.Add(1) >= failAt {
				return errDisk
			}
			return nil
		}))
		n := openNode(t, nodeConfig{fs: fs, partitions: 2, fatal: func(string) { fatals.Add(1) }})
		armed.Store(true)
		acked := [2]int64{}
		failed := 0
		for i := 0; failed < 3 && i < 200; i++ {
			p := n.parts[i%2]
			a, err := p.Append(rec{tag: i}.batch(t))
			if err == nil {
				err = a.Wait(t.Context())
			}
			if err == nil {
				require.Zero(t, failed, "acknowledged after a failure")
				acked[i%2] = a.LastOffset + 1
				continue
			}
			require.ErrorIs(t, err, ErrFailed)
			failed++
			require.Equal(t, acked[i%2], p.Bounds().HighWatermark)
		}
		require.Equal(t, 3, failed)
		require.Equal(t, int64(1), fatals.Load())
		image := mem.CrashClone(vfs.CrashCloneCfg{})
		n.abandon()
		n = openNode(t, nodeConfig{fs: image})
		for i, p := range n.parts {
			require.GreaterOrEqual(t, p.Bounds().HighWatermark, acked[i])
		}
		n.close()
	}
}

func TestFullDiskRefusesAndHeals(t *testing.T) {
	mem := vfs.NewMem()
	c := &clock{ms: 1_700_000_000_000}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 2 << 30})
	n := openNode(t, nodeConfig{fs: mem, clock: c})
	defer n.close()
	refusing := n.parts[0]
	refusing.store.cfg.Reserve = n.dir.Reserve()
	appendWait(t, refusing, rec{})
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 20, TotalBytes: 2 << 30})
	c.ms += 100
	_, err := refusing.Append(rec{}.batch(t))
	require.ErrorContains(t, err, "disk of /data is full")
	require.Len(t, readAll(t, refusing, 0, 1), 1)
	require.NoError(t, refusing.TrimTo(t.Context(), 1))
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 30, TotalBytes: 2 << 30})
	c.ms += 100
	appendWait(t, refusing, rec{})
}
