package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A reader of committed records that waits at the last stable offset has its answer when a marker moves that, long before its time is up.
func TestFetchIsWokenByTheMarker(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	p.produce(tp, 0, raw.KV("a", "1"), raw.KV("b", "2"))
	require.Empty(t, stable(c, tp, 0, 0).RecordBatches)
	req := raw.FetchFrom(tp, 0, 12)
	req.IsolationLevel, req.MaxWaitMillis, req.MinBytes = 1, forever, 1
	c.Send(req)
	p.end(true)
	resp, _ := c.Receive(req)
	answer := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	require.NotEmpty(t, raw.BatchesOf(c, answer.RecordBatches))
}

// A fetch in the middle, or at the marker, of an aborted transaction is told of it; one behind the marker is not. How far
// ahead a broker looks is its own affair.
func TestFetchAbortedTransactionsThatOverlap(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	id := p.id
	raw.MustProduce(c, tp, raw.KV("x", "0"))
	p.produce(tp, 0, raw.KV("a", "1"), raw.KV("b", "2")) // 1, 2
	p.end(false)
	require.Len(t, awaitMarkers(c, tp, 0, 1), 1) // 3
	raw.MustProduce(c, tp, raw.KV("y", "4"))
	raw.Eventually(t, func() bool { return stable(c, tp, 0, 0).LastStableOffset == 5 })
	for from, told := range []bool{true, true, true, true, false} {
		list := stable(c, tp, 0, int64(from)).AbortedTransactions
		if !told {
			require.Empty(t, list, "from %d", from)
			continue
		}
		require.Len(t, list, 1, "from %d", from)
		require.Equal(t, []int64{id, 1}, []int64{list[0].ProducerID, list[0].FirstOffset})
	}
}

// For a reader of committed records the log ends at the last stable offset, and there are no records behind it, by time either. A marker
// counts as a record.
func TestListOffsetsReadCommitted(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	old := raw.NewBatch(raw.KV("x", "0"))
	old.FirstTimestamp, old.MaxTimestamp = 1000, 1000
	raw.RequireCode(t, 0, raw.Produce(c, tp, raw.Seal(old)).ErrorCode, nil)
	p.produce(tp, 0, raw.KV("a", "1"))
	list := func(timestamp int64, isolation int8) int64 {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID, req.IsolationLevel = 7, -1, isolation
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Timestamp = timestamp
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: tp.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{rp}}}
		answer := raw.Do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
		require.Zero(t, answer.ErrorCode)
		return answer.Offset
	}
	require.Equal(t, []int64{2, 1}, []int64{list(-1, 0), list(-1, 1)})
	require.Equal(t, []int64{0, 0}, []int64{list(500, 0), list(500, 1)})
	require.Equal(t, []int64{1, -1}, []int64{list(2000, 0), list(2000, 1)})
	require.Equal(t, []int64{1, -1}, []int64{list(-3, 0), list(-3, 1)})
	p.end(true)
	raw.Eventually(t, func() bool { return list(-1, 1) == 3 })
	require.Equal(t, []int64{1, 1}, []int64{list(2000, 0), list(2000, 1)})
}

// DeleteRecords passes the records of an open transaction, and the last stable offset goes along; the transaction ends as it would have.
func TestDeleteRecordsOfAnOpenTransaction(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	id := p.id
	raw.MustProduce(c, tp, raw.KV("x", "0"))
	p.produce(tp, 0, raw.KV("a", "1"), raw.KV("b", "2")) // 1, 2
	raw.MustProduce(c, tp, raw.KV("y", "3"))
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: tp.Name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 0, Offset: -1}}}}
	deleted := raw.Do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
	require.Zero(t, deleted.ErrorCode)
	require.Equal(t, int64(4), deleted.LowWatermark)
	raw.Eventually(t, func() bool { return raw.ListOffset(c, tp, 0, -2).Offset == 4 })
	now := stable(c, tp, 0, 4)
	require.Zero(t, now.ErrorCode)
	require.Equal(t, []int64{4, 4, 4}, []int64{now.LogStartOffset, now.LastStableOffset, now.HighWatermark})
	p.end(false)
	awaitEnd := func(offset int64) {
		t.Helper()
		raw.Eventually(t, func() bool { return stable(c, tp, 0, 4).LastStableOffset == offset })
	}
	awaitEnd(5)
	list := stable(c, tp, 0, 4).AbortedTransactions
	require.Len(t, list, 1)
	require.Equal(t, []int64{id, 1}, []int64{list[0].ProducerID, list[0].FirstOffset})
	p.produce(tp, 0, raw.KV("a", "5"))
	p.end(true)
	awaitEnd(7)
}
