package log

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

func TestAppendStampsAndReadsBack(t *testing.T) {
	for _, where := range []struct {
		name string
		tail int64
	}{{"memory", 0}, {"disk", -1}} {
		t.Run(where.name, func(t *testing.T) {
			n := openNode(t, nodeConfig{fs: vfs.NewMem(), log: Config{TailBytes: where.tail}})
			defer n.close()
			p := n.parts[0]
			require.Equal(t, Bounds{}, p.Bounds())
			a := appendWait(t, p, rec{n: 3, tag: 1})
			require.Equal(t, []int64{0, 2}, []int64{a.BaseOffset, a.LastOffset})
			a = appendWait(t, p, rec{n: 2, tag: 2})
			require.Equal(t, []int64{3, 4}, []int64{a.BaseOffset, a.LastOffset})
			require.Equal(t, Bounds{HighWatermark: 5, Synced: 5, LastStable: 5, LogEnd: 5}, p.Bounds())

			list := readAll(t, p, 0, 1<<20)
			require.Len(t, list, 2)
			require.NoError(t, list[1].Validate())
			require.Equal(t, int64(3), list[1].BaseOffset())
			require.Equal(t, p.store.cfg.LeaderEpoch, list[1].LeaderEpoch())
			require.EqualValues(t, len(list[0])+len(list[1]), p.SizeBytes())

			// An offset inside a batch returns the whole batch, over any limit.
			out, next, err := p.Read(4, 5, 1, []byte("x"))
			require.NoError(t, err)
			require.Equal(t, int64(5), next)
			require.Equal(t, append([]byte("x"), list[1]...), out)
			// One batch only when the second does not fit.
			got, err := p.Batches(1, 5, len(list[0])+1)
			require.NoError(t, err)
			require.Equal(t, []batch.Batch{list[0]}, got)
			got, err = p.Batches(0, 5, len(list[0])+len(list[1]))
			require.NoError(t, err)
			require.Len(t, got, 2)
			// The end of the range is exclusive and the high watermark cuts it.
			got, err = p.Batches(0, 3, 1<<20)
			require.NoError(t, err)
			require.Len(t, got, 1)
			got, err = p.Batches(5, 99, 1<<20)
			require.NoError(t, err)
			require.Empty(t, got)
			var out2 *OffsetRangeError
			_, err = p.Batches(6, 99, 1<<20)
			require.ErrorAs(t, err, &out2)
			_, err = p.Batches(-1, 99, 1<<20)
			require.ErrorAs(t, err, &out2)
		})
	}
}

func TestHighWatermarkWaitsForTheSync(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	appendWait(t, p, rec{tag: 1})
	moved := make(chan int64, 16)
	defer p.Watch(func() { moved <- p.Bounds().HighWatermark })()

	gate.shut()
	a, err := p.Append(rec{tag: 2}.batch(t))
	require.NoError(t, err)
	require.Equal(t, Bounds{HighWatermark: 1, Synced: 1, LastStable: 1, LogEnd: 2}, p.Bounds())
	select {
	case <-a.Done():
		t.Fatal("done before the sync")
	default:
	}
	got, err := p.Batches(1, 2, 1<<20) // between high watermark and log end: empty, not an error
	require.NoError(t, err)
	require.Empty(t, got)
	require.Empty(t, moved)

	gate.open()
	require.NoError(t, a.Wait(t.Context()))
	require.Equal(t, int64(2), p.Bounds().HighWatermark)
	require.Equal(t, int64(2), <-moved)
}

// Whoever knows that its append is done, and asks a reader that the log wakes, finds it awake.
func TestReadersAreWokenBeforeTheAppenderIsTold(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	gate.shut()
	a, err := p.Append(rec{tag: 1}.batch(t))
	require.NoError(t, err)
	done := make(chan bool, 1)
	defer p.Watch(func() {
		select {
		case <-a.Done():
			done <- true
		default:
			done <- false
		}
	})()
	gate.open()
	require.NoError(t, a.Wait(t.Context()))
	require.False(t, <-done)
}

func TestManyAppendsShareASync(t *testing.T) {
	gate := newSyncGate()
	n := openNode(t, nodeConfig{fs: gate.wrap(vfs.NewMem()), partitions: 4})
	defer n.close()
	gate.shut()
	before := gate.syncs.Load()
	var all []*Appended
	for i := range 200 {
		a, err := n.parts[i%4].Append(rec{tag: i}.batch(t))
		require.NoError(t, err)
		all = append(all, a)
	}
	gate.open()
	for _, a := range all {
		require.NoError(t, a.Wait(t.Context()))
	}
	require.Less(t, gate.syncs.Load()-before, int64(10))
}

func TestTailCacheKeepsItsBudget(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 3, log: Config{TailBytes: 10_000}})
	defer n.close()
	for i := range 300 {
		appendWait(t, n.parts[i%3], rec{tag: i, size: 100 + i})
		m := n.store.Metrics()
		require.LessOrEqual(t, m.TailBytes, int64(10_000))
	}
	for _, p := range n.parts {
		require.Len(t, readAll(t, p, 0, 5_000), 100) // over the border between disk and memory
		require.Positive(t, p.store.Metrics().TailMisses)
	}
	before := n.store.Metrics().TailMisses
	for _, p := range n.parts {
		_, err := p.Batches(99, 100, 1)
		require.NoError(t, err)
	}
	require.Equal(t, before, n.store.Metrics().TailMisses)
}

func TestRestartContinues(t *testing.T) {
	fs := vfs.NewMem()
	for run := range 4 {
		n := openNode(t, nodeConfig{fs: fs, partitions: 2})
		p := n.parts[1]
		require.Equal(t, int64(run*3), p.Bounds().HighWatermark)
		require.Len(t, readAll(t, p, 0, 1<<20), run*2)
		size := p.SizeBytes()
		require.Equal(t, int64(3*run), appendWait(t, p, rec{n: 2, tag: run}).BaseOffset)
		appendWait(t, p, rec{tag: run})
		require.Greater(t, p.SizeBytes(), size)
		require.Equal(t, int32(run), p.EpochAt(int64(3*run)))
		n.close()
	}
}

func TestLeaderEpochs(t *testing.T) {
	fs := vfs.NewMem()
	write := []int{2, 0, 3, 1, 0} // records in epoch 0, 1, ...
	for epoch, count := range write {
		n := openNode(t, nodeConfig{fs: fs})
		for range count {
			appendWait(t, n.parts[0], rec{})
		}
		if epoch < len(write)-1 {
			n.close()
			continue
		}
		p := n.parts[0]
		for _, want := range []struct{ ask, epoch, end int64 }{
			{0, 0, 2}, {1, 0, 2}, {2, 2, 5}, {3, 3, 6}, {4, 4, 6}, {5, -1, -1}, {-1, -1, -1},
		} {
			found, end := p.EpochEnd(int32(want.ask))
			require.Equal(t, []int64{want.epoch, want.end}, []int64{int64(found), end}, "epoch %d", want.ask)
		}
		for offset, want := range []int32{0, 0, 2, 2, 2, 3, 4} {
			require.Equal(t, want, p.EpochAt(int64(offset)), "offset %d", offset)
		}
		n.close()
	}
}

func TestClosedAndDropped(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 2})
	p := n.parts[0]
	appendWait(t, p, rec{})
	told := make(chan struct{}, 4)
	p.Watch(func() { told <- struct{}{} })
	require.NoError(t, n.store.DropPartition(p.ID()))
	<-told
	_, err := p.Append(rec{}.batch(t))
	require.ErrorIs(t, err, ErrClosed)
	_, err = p.Batches(0, 1, 1)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, p.TrimTo(t.Context(), 0), ErrClosed)
	require.NoError(t, n.cat.Delete("t"))
	n.close()
	_, err = n.parts[1].Append(rec{}.batch(t))
	require.ErrorIs(t, err, ErrClosed)
	_, err = n.store.OpenPartition(0, n.partMeta())
	require.ErrorIs(t, err, ErrClosed)

	// Of the deleted topic nothing is left, and its numbers are not used again.
	n = openNode(t, nodeConfig{fs: n.fs, partitions: 2})
	defer n.close()
	require.Equal(t, PartitionID(2), n.parts[0].ID())
	require.Equal(t, Bounds{}, n.parts[0].Bounds())
}

func TestForeignIncarnationIsRefused(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, nodeConfig{fs: fs})
	appendWait(t, n.parts[0], rec{})
	meta := n.partMeta()
	require.NoError(t, n.store.DropPartition(0))
	meta.Incarnation[0] ^= 1
	_, err := n.store.OpenPartition(0, meta)
	var corrupt *CorruptError
	require.ErrorAs(t, err, &corrupt)
	n.close()
}

// TestTailCharge: bytes kept beside batches count until those batches have gone, and make older ones go.
func TestTailCharge(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 2, log: Config{TailBytes: 10_000}})
	defer n.close()
	hits := func(p *Partition) bool {
		before := n.store.Metrics().TailHits
		_, err := p.Batches(0, 1, 1)
		require.NoError(t, err)
		return n.store.Metrics().TailHits > before
	}
	old, charged := n.parts[0], n.parts[1]
	appendWait(t, old, rec{size: 1000})
	appendWait(t, charged, rec{size: 1000})
	charged.ChargeTail(7_000)
	require.Greater(t, n.store.Metrics().TailBytes, int64(9_000))
	require.True(t, hits(old))
	require.True(t, hits(charged))

	appendWait(t, old, rec{size: 1000})
	require.False(t, hits(old))
	require.True(t, hits(charged))

	appendWait(t, old, rec{size: 1000})
	require.False(t, hits(charged))
	require.Greater(t, n.store.Metrics().TailBytes, int64(9_000), "the charge outlives the batch")

	charged.ChargeTail(20_000)
	require.Zero(t, n.store.Metrics().TailBytes)
	for _, p := range n.parts {
		require.NotEmpty(t, readAll(t, p, 0, 1<<20))
	}
}
