package log

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/keys"
)

func TestTrim(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, nodeConfig{fs: fs, log: Config{TailBytes: -1}})
	p := n.parts[0]
	for i := range 10 {
		appendWait(t, p, rec{n: 2, tag: i})
	}
	var outside *OffsetRangeError
	require.ErrorAs(t, p.TrimTo(t.Context(), 21), &outside)
	require.NoError(t, p.TrimTo(t.Context(), 7)) // inside [6, 8)
	require.Equal(t, int64(7), p.Bounds().DeltaStart)
	require.Equal(t, int64(0), p.Bounds().LogStart)
	require.Equal(t, int64(6), stored(t, p)[0].BaseOffset())
	_, _, err := p.Read(6, 20, 1, nil)
	require.ErrorIs(t, err, ErrTrimmed)
	require.Len(t, readAll(t, p, 7, 1<<20), 7)
	require.NoError(t, p.TrimTo(t.Context(), 3)) // down: nothing
	require.Equal(t, int64(7), p.Bounds().DeltaStart)

	// The batch with the last offset stays.
	require.NoError(t, p.TrimTo(t.Context(), 20))
	require.Equal(t, int64(18), p.Bounds().DeltaStart)
	require.Len(t, readAll(t, p, 18, 1), 1)
	require.Len(t, stored(t, p), 1)

	// The log start goes to the very end; the last batch is still stored, but not readable.
	require.NoError(t, p.SetLogStart(t.Context(), 20))
	require.Equal(t, Bounds{LogStart: 20, DeltaStart: 20, HighWatermark: 20, Synced: 20, LastStable: 20, LogEnd: 20}, p.Bounds())
	_, _, err = p.Read(19, 20, 1, nil)
	require.ErrorAs(t, err, &outside)
	_, err = p.Batches(19, 20, 1)
	require.ErrorIs(t, err, ErrTrimmed)
	n.close()
	n = openNode(t, nodeConfig{fs: fs})
	defer n.close()
	p = n.parts[0]
	require.Equal(t, Bounds{LogStart: 20, DeltaStart: 20, HighWatermark: 20, Synced: 20, LastStable: 20, LogEnd: 20}, p.Bounds())
	require.Equal(t, int64(20), appendWait(t, p, rec{}).BaseOffset)
	require.Len(t, readAll(t, p, 20, 1), 1)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	p.trimming <- struct{}{} // another trim is under way
	require.ErrorIs(t, p.TrimTo(cancelled, 20), context.Canceled)
	<-p.trimming
}

func TestTrimOfAnEmptyPartition(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem()})
	defer n.close()
	require.NoError(t, n.parts[0].TrimTo(t.Context(), 0))
	require.NoError(t, n.parts[0].SetLogStart(t.Context(), 0))
}

func TestTrimmedSpaceComesBackWhenIdle(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	for i := range 256 {
		_, err := p.Append(rec{size: 64 << 10, tag: i}.batch(t))
		require.NoError(t, err)
	}
	appendWait(t, p, rec{})
	db := p.store.db
	require.NoError(t, db.Flush())
	require.Greater(t, db.Metrics().BlobFiles.LiveSize, uint64(14<<20))
	require.NoError(t, p.TrimTo(t.Context(), 257))
	require.Eventually(t, func() bool { return db.Metrics().BlobFiles.LiveSize < 1<<20 }, waitLimit, pollEvery)
	require.Eventually(t, func() bool { return n.store.Metrics().Compactions == 1 }, waitLimit, pollEvery)
}

// Blob files in which something lives are rewritten. Pebble leaves those alone that are younger than a second, as all are when the
// compaction runs right after the trim.
func TestTrimmedSpaceComesBackFromSharedFiles(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 2, log: Config{TailBytes: -1, CompactEveryBytes: 1 << 20}})
	defer n.close()
	for i := range 256 {
		_, err := n.parts[i%2].Append(rec{size: 64 << 10, tag: i}.batch(t))
		require.NoError(t, err)
	}
	for _, p := range n.parts {
		appendWait(t, p, rec{})
	}
	db := n.parts[0].store.db
	require.NoError(t, db.Flush())
	require.Greater(t, db.Metrics().BlobFiles.LiveSize, uint64(14<<20))
	require.NoError(t, n.parts[0].TrimTo(t.Context(), 128))
	require.Eventually(t, func() bool { return db.Metrics().BlobFiles.LiveSize < 12<<20 }, waitLimit, pollEvery)
	require.Len(t, readAll(t, n.parts[1], 0, 1<<20), 129)
}

// A drop waits for the trim under way, whose write must not come behind the deletion of the partition's keys; a later trim, and a read
// that was on its way to the disk, find the partition closed, not damaged.
func TestDropBesideTrimsAndReads(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	for i := range 5 {
		appendWait(t, p, rec{tag: i})
	}
	p.trimming <- struct{}{} // a trim is under way
	dropped := make(chan error, 1)
	go func() { dropped <- n.store.DropPartition(p.id) }()
	require.Eventually(t, func() bool {
		_, err := p.Batches(0, 5, 1)
		return errors.Is(err, ErrClosed)
	}, waitLimit, pollEvery)
	require.Empty(t, dropped)
	<-p.trimming
	require.NoError(t, <-dropped)
	require.NoError(t, n.cat.Delete("t"))
	require.ErrorIs(t, p.TrimTo(t.Context(), 3), ErrClosed)
	_, err := p.BytesFrom(t.Context(), 3)
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, p.fromDisk(0, 5, 1, func(batch.Batch) {}), ErrClosed)
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpacePart))
	require.NoError(t, err)
	require.False(t, it.First(), "nothing is left")
	require.NoError(t, it.Close())
}

// A deleted topic's space comes back too, though nobody trims it, and though others live in its files.
func TestDeletedSpaceComesBack(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), log: Config{TailBytes: -1}})
	defer n.close()
	other, err := n.cat.Create(catalog.Spec{Name: "other", Partitions: 1})
	require.NoError(t, err)
	p, err := n.store.OpenPartition(PartitionID(other.Partitions[0].Ordinal), other.Partitions[0])
	require.NoError(t, err)
	for i := range 256 {
		_, err := n.parts[0].Append(rec{size: 64 << 10, tag: i}.batch(t))
		require.NoError(t, err)
		if i%16 == 0 {
			appendWait(t, p, rec{size: 1 << 10})
			require.NoError(t, n.store.db.Flush())
		}
	}
	size := n.parts[0].SizeBytes()
	db := n.store.db
	require.NoError(t, db.Flush())
	require.Greater(t, db.Metrics().BlobFiles.LiveSize, uint64(14<<20))
	require.NoError(t, n.store.DropPartition(n.parts[0].ID()))
	require.NoError(t, n.cat.Delete("t"))
	n.store.Reclaim(size)
	require.Eventually(t, func() bool { return db.Metrics().BlobFiles.LiveSize < 1<<20 }, waitLimit, pollEvery)
	require.Len(t, readAll(t, p, 0, 1<<20), 16)
}
