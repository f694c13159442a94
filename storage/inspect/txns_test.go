package inspect

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// putIn appends a record in a producer's transaction, and folds nothing.
func (b *broker) putIn(p *log.Partition, producer int64) {
	b.t.Helper()
	opts := batch.NewOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = producer, 0, 0, true
	builder := batch.NewBuilder(opts)
	require.NoError(b.t, builder.Append(batch.Record{Key: []byte("a-000000"), Value: []byte("in a transaction")}))
	records, err := builder.Finish()
	require.NoError(b.t, err)
	appended, err := p.Append(records)
	require.NoError(b.t, err)
	require.NoError(b.t, appended.Wait(b.t.Context()))
}

// Records of aborted and open transactions are no part of what is folded again, and what the log keeps of transactions beside the
// batches is compared with them.
func TestTransactions(t *testing.T) {
	fs := vfs.NewMem()
	b := start(t, fs)
	topic := b.topic("a")
	b.put("a", 5)
	meta := topic.Partitions[0]
	p, err := b.log.OpenPartition(log.PartitionID(meta.Ordinal), meta)
	require.NoError(t, err)
	b.putIn(p, 7) // 5
	b.putIn(p, 8) // 6
	a, err := b.log.AppendMarkers([]*log.Partition{p}, log.Marker{ProducerID: 7}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	b.putIn(p, 9) // 8
	b.putIn(p, 10)
	a, err = b.log.AppendMarkers([]*log.Partition{p}, log.Marker{ProducerID: 8}, nil) // 10
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	require.EqualValues(t, 8, p.Bounds().LastStable)
	tab, err := b.tables.Table(meta.Ordinal, table.Identity{TopicID: topic.ID, Incarnation: meta.Incarnation, Fold: fold.LastValue})
	require.NoError(t, err)
	require.NoError(t, b.tables.Commit(context.Background(), []table.Fold{{Table: tab, End: 8, LeaderEpoch: p.EpochAt(7), Cut: true}}))
	b.stop()
	r := check(t, fs)
	require.Empty(t, r.Problems)
	require.EqualValues(t, 2, r.Digests, "of both frames")

	for name, c := range map[string]struct {
		offset int64
		change func(*pebble.Batch, uint32) error
	}{
		"an aborted transaction is forgotten": {7, func(pb *pebble.Batch, id uint32) error {
			return pb.Delete(keys.Aborted(nil, id, 7), nil)
		}},
		"it begins elsewhere": {7, func(pb *pebble.Batch, id uint32) error {
			return pb.Set(keys.Aborted(nil, id, 7), keys.AbortedTxn{ProducerID: 7, FirstOffset: 4, LastStable: 6}.Append(nil), nil)
		}},
		"one is invented": {3, func(pb *pebble.Batch, id uint32) error {
			return pb.Set(keys.Aborted(nil, id, 3), keys.AbortedTxn{ProducerID: 7, FirstOffset: 2, LastStable: 4}.Append(nil), nil)
		}},
		"an open one is forgotten": {9, func(pb *pebble.Batch, id uint32) error { return pb.Delete(keys.ProducerKey(nil, id, 10), nil) }},
		"one is said to be open": {5, func(pb *pebble.Batch, id uint32) error {
			state := keys.Producer{Count: 1, TxnFirstOffset: 5, CoordinatorEpoch: -1}
			return pb.Set(keys.ProducerKey(nil, id, 7), state.Append(nil), nil)
		}},
	} {
		image := vfs.NewMem()
		_, err := vfs.Clone(fs, image, "/d", "/d")
		require.NoError(t, err)
		b := start(t, image)
		pb := b.db.NewBatch()
		require.NoError(t, c.change(pb, meta.Ordinal), name)
		require.NoError(t, b.db.Apply(pb, pebble.Sync))
		b.stop()
		problems := check(t, image).Problems
		require.NotEmpty(t, problems, name)
		require.ErrorIs(t, problems[len(problems)-1], errTxns, name)
		require.Equal(t, c.offset, problems[len(problems)-1].Offset, name)
	}
}
