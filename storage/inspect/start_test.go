package inspect

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// Folding again lets rows go where the log start moved over them, also where the frame of that cut was thinned.
func TestRowsThatExpired(t *testing.T) {
	fs := vfs.NewMem()
	b := start(t, fs)
	topic := b.topic("a")
	b.put("a", 50) // offsets 0 to 49
	meta := topic.Partitions[0]
	p, err := b.log.OpenPartition(log.PartitionID(meta.Ordinal), meta)
	require.NoError(t, err)
	tab, err := b.tables.Table(meta.Ordinal, table.Identity{TopicID: topic.ID, Incarnation: meta.Incarnation, Fold: fold.LastValue})
	require.NoError(t, err)
	b.put("a", 10) // 50 to 59, the first ten keys again
	require.NoError(t, p.HideBelow(t.Context(), 45))
	a, err := p.Append(oneRecord(t, "k"))
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	change := table.Change{Key: []byte("k"), Deltas: []table.Delta{{Delta: delta.Delta{Op: delta.Put, Key: []byte("k"), Value: []byte("v")}, Offset: 60, Timestamp: 5}}}
	require.NoError(t, b.tables.Commit(context.Background(), []table.Fold{{
		Table: tab, Changes: []table.Change{change}, End: 61, LeaderEpoch: p.EpochAt(60), Cut: true, Start: 45}}))
	require.EqualValues(t, 10+5+1, tab.Digest().Count)
	b.put("a", 5)
	require.NoError(t, tab.Thin(context.Background(), 61))
	require.NoError(t, p.HideBelow(t.Context(), 55)) // nothing comes any more: rows leave at the newest cut
	require.NoError(t, b.tables.Commit(context.Background(), []table.Fold{{Table: tab, End: 66, LeaderEpoch: p.EpochAt(65), Cut: true, Start: 55}}))
	require.EqualValues(t, 5+5+1, tab.Digest().Count)
	b.stop()
	r := check(t, fs)
	require.Empty(t, r.Problems)
	require.EqualValues(t, 66, r.Refolded)
	require.EqualValues(t, 3, r.Digests)
}

func oneRecord(t *testing.T, key string) batch.Batch {
	builder := batch.NewBuilder(batch.NewOptions())
	require.NoError(t, builder.Append(batch.Record{Timestamp: 5, Key: []byte(key), Value: []byte("v")}))
	encoded, err := builder.Finish()
	require.NoError(t, err)
	return encoded
}

// A topic that is not key-framed any more keeps its table until retention has passed the rows; then nothing can be compared.
func TestRowsThatRetentionHasPassed(t *testing.T) {
	fs := vfs.NewMem()
	b := start(t, fs)
	topic := b.topic("a")
	b.put("a", 50)
	b.put("a", 50)
	meta := topic.Partitions[0]
	p, err := b.log.OpenPartition(log.PartitionID(meta.Ordinal), meta)
	require.NoError(t, err)
	require.NoError(t, p.SetLogStart(t.Context(), 70))
	b.stop()
	require.Empty(t, check(t, fs).Problems)
}
