package client

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/batch"
)

// A segment is of one leader epoch, says where offsets are missing, and counts markers as what is there.
func TestSegments(t *testing.T) {
	at := func(offset int64, epoch int32) *kgo.Record {
		return &kgo.Record{Offset: offset, LeaderEpoch: epoch, Key: []byte("k")}
	}
	marker := at(5, 1)
	marker.Attrs = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Control: true})
	require.Empty(t, toSegments(0, nil, false))
	out := toSegments(3, []*kgo.Record{at(3, 1), at(4, 1), marker, at(6, 2), at(9, 2)}, false)
	require.Len(t, out, 2)
	require.Len(t, out[0].records, 2)
	for i, want := range []segment{{partition: 3, first: 3, next: 6, epoch: 1}, {partition: 3, first: 6, next: 10, gaps: true, epoch: 2}} {
		out[i].records = nil
		require.Equal(t, want, out[i])
	}
	out = toSegments(3, []*kgo.Record{at(3, 1), at(4, 1), marker, at(8, 1)}, true)
	require.Len(t, out, 2)
	require.Equal(t, []int64{3, 6, 8, 9}, []int64{out[0].first, out[0].next, out[1].first, out[1].next})
	require.False(t, out[0].gaps || out[1].gaps)
}

// What has come when a poll is to end, as another partition is to be read too, does not come again: it is not thrown away.
func TestAPollThatEndsKeepsWhatCame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k := &kafkaTail{topic: "t", fetch: func(context.Context) kgo.Fetches {
		defer cancel()
		records := []*kgo.Record{{Offset: 7, Key: []byte("k")}, {Offset: 8, Key: []byte("k")}}
		return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "t", Partitions: []kgo.FetchPartition{{Partition: 1, Records: records}}}}}}
	}}
	out, err := k.poll(ctx)
	require.NoError(t, err)
	require.Len(t, out, 1)
	require.Equal(t, []int64{1, 7, 9}, []int64{int64(out[0].partition), out[0].first, out[0].next})
	require.Len(t, out[0].records, 2)
}

// Of what ends reading, the loss of what was read is told apart: others may have been told of it.
func TestLossIsTold(t *testing.T) {
	require.ErrorIs(t, fatalTail(&kgo.ErrDataLoss{}), errDiverged)
	require.ErrorIs(t, fatalTail(&kgo.ErrDataLoss{}), errOutOfRange)
	require.True(t, restart{err: fatalTail(&kgo.ErrDataLoss{})}.wrong())
	require.ErrorIs(t, fatalTail(kerr.OffsetOutOfRange), errOutOfRange)
	require.False(t, restart{err: fatalTail(kerr.OffsetOutOfRange)}.wrong())
}

// A batch of a transaction that has the offset was written so: rows are in none.
func TestTransactionalAt(t *testing.T) {
	batchOf := func(base int64, transactional bool) []byte {
		opts := batch.NewOptions()
		opts.BaseOffset, opts.Transactional = base, transactional
		b := batch.NewBuilder(opts)
		for i := range int64(3) {
			require.NoError(t, b.Append(batch.Record{Offset: base + i, Key: []byte("k")}))
		}
		out, err := b.Finish()
		require.NoError(t, err)
		return out
	}
	for _, c := range []struct {
		fetched []byte
		offset  int64
		want    bool
	}{
		{batchOf(10, true), 10, true}, {batchOf(10, true), 12, true}, {batchOf(10, true), 13, false}, {batchOf(10, true), 9, false},
		{batchOf(10, false), 11, false}, {append(batchOf(8, false), batchOf(11, true)...), 11, false},
	} {
		got, err := transactionalAt(c.fetched, c.offset)
		require.NoError(t, err)
		require.Equal(t, c.want, got, "%d", c.offset)
	}
	_, err := transactionalAt([]byte("no batch"), 0)
	require.Error(t, err)
}
