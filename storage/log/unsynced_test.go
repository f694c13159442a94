package log

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func done(a *Appended) bool {
	select {
	case <-a.Done():
		return true
	default:
		return false
	}
}

// With ShowUnsynced a batch is acknowledged and readable when it is written; what is committed waits for the sync.
func TestShowUnsynced(t *testing.T) {
	gate := newSyncGate()
	n := openNode(t, nodeConfig{fs: gate.wrap(vfs.NewMem()), partitions: 2})
	defer n.close()
	p := n.parts[0]
	p.ShowUnsynced(true)
	moved := make(chan Bounds, 16)
	defer p.Watch(func() { moved <- p.Bounds() })()

	gate.shut()
	one := rec{n: 3, pid: 1, ts: 77, tag: 1}
	a, err := p.Append(one.batch(t))
	require.NoError(t, err)
	require.True(t, done(a))
	require.NoError(t, a.Err())
	want := Bounds{HighWatermark: 3, LogEnd: 3}
	require.Equal(t, want, p.Bounds())
	require.Equal(t, want, <-moved, "who waits at the high watermark is woken")
	require.Len(t, readAll(t, p, 0, 1<<20), 1)
	require.NotZero(t, p.SizeBytes())
	offset, ts, _, ok, err := p.OffsetForTimestamp(78)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, [2]int64{1, 78}, [2]int64{offset, ts})

	again, err := p.Append(one.batch(t))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	require.True(t, done(again))

	other, err := n.parts[1].Append(rec{tag: 2}.batch(t))
	require.NoError(t, err)
	require.False(t, done(other), "another partition is as it was")

	gate.open()
	require.NoError(t, other.Wait(t.Context()))
	require.Equal(t, Bounds{HighWatermark: 3, Synced: 3, LastStable: 3, LogEnd: 3}, p.Bounds(), "its sync came before the other's")
	sizeIs(t, p)
}

// The last stable offset is never above what is synced, though the high watermark is.
func TestShowUnsyncedIsNotStable(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	p.ShowUnsynced(true)
	gate.shut()
	for tag := range 2 {
		_, err := p.Append(rec{tag: tag}.batch(t))
		require.NoError(t, err)
	}
	moved := make(chan Bounds, 8)
	defer p.Watch(func() { moved <- p.Bounds() })()
	gate.open()
	require.Equal(t, Bounds{HighWatermark: 2, Synced: 1, LastStable: 1, LogEnd: 2}, <-moved)
	require.Equal(t, Bounds{HighWatermark: 2, Synced: 2, LastStable: 2, LogEnd: 2}, <-moved)
}

// The mode holds for the appends to come; what was written before is shown with the next one.
func TestShowUnsyncedChanges(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	gate.shut()
	strict, err := p.Append(rec{tag: 1}.batch(t))
	require.NoError(t, err)
	p.ShowUnsynced(true)
	require.Zero(t, p.Bounds().HighWatermark)
	lazy, err := p.Append(rec{tag: 2}.batch(t))
	require.NoError(t, err)
	require.True(t, done(lazy))
	require.False(t, done(strict), "its producer was promised a sync")
	require.Equal(t, Bounds{HighWatermark: 2, LogEnd: 2}, p.Bounds())
	p.ShowUnsynced(false)
	strict, err = p.Append(rec{tag: 3}.batch(t))
	require.NoError(t, err)
	require.False(t, done(strict))
	require.Equal(t, Bounds{HighWatermark: 2, LogEnd: 3}, p.Bounds(), "what was shown stays")
	gate.open()
	require.NoError(t, strict.Wait(t.Context()))
	require.Equal(t, Bounds{HighWatermark: 3, Synced: 3, LastStable: 3, LogEnd: 3}, p.Bounds())
	sizeIs(t, p)
}

// What a transaction wrote is committed once its marker is durable, however early it was shown.
func TestShowUnsyncedTransaction(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	p.ShowUnsynced(true)
	gate.shut()
	_, err := p.Append(rec{pid: 1, txn: true, tag: 1}.batch(t))
	require.NoError(t, err)
	end, err := n.store.AppendMarkers(n.parts, Marker{ProducerID: 1, CoordinatorEpoch: 1, Commit: true}, nil)
	require.NoError(t, err)
	require.False(t, done(end))
	require.Equal(t, Bounds{HighWatermark: 2, LogEnd: 2}, p.Bounds())
	gate.open()
	require.NoError(t, end.Wait(t.Context()))
	require.Equal(t, Bounds{HighWatermark: 2, Synced: 2, LastStable: 2, LogEnd: 2}, p.Bounds())
}

// Records can be deleted before they are synced: the deletion follows them in the write-ahead log.
func TestDeleteUnsynced(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	p.ShowUnsynced(true)
	gate.shut()
	for i := range 3 {
		_, err := p.Append(rec{tag: i}.batch(t))
		require.NoError(t, err)
	}
	deleted := make(chan error, 1)
	go func() { deleted <- p.SetLogStart(t.Context(), 3) }()
	require.Eventually(t, func() bool { return p.Bounds().LogStart == 3 }, waitLimit, pollEvery)
	b := p.Bounds()
	require.GreaterOrEqual(t, b.LastStable, b.DeltaStart)
	gate.open()
	require.NoError(t, <-deleted)
	require.Equal(t, int64(3), p.Bounds().LastStable)
}

// The mode costs what it says: a crash takes back what was acknowledged in it, and nothing of a partition without it.
func TestCrashTakesBackTheUnsynced(t *testing.T) {
	mem, gate := vfs.NewCrashableMem(), newSyncGate()
	n := openNode(t, nodeConfig{fs: gate.wrap(mem), partitions: 2})
	appendWait(t, n.parts[1], rec{tag: 1})
	n.parts[0].ShowUnsynced(true)
	gate.shut()
	a, err := n.parts[0].Append(rec{tag: 2}.batch(t))
	require.NoError(t, err)
	require.True(t, done(a))
	image := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0, RNG: rand.New(rand.NewPCG(1, 2))})
	gate.open()
	n.abandon()
	n = openNode(t, nodeConfig{fs: image, partitions: 2})
	defer n.close()
	require.Zero(t, n.parts[0].Bounds().LogEnd)
	require.Equal(t, int64(1), n.parts[1].Bounds().HighWatermark)
}
