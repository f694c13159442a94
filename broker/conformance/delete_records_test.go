package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteRecords(c *conn, version int16, t topic, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: t.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
	return do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
}

// requireDeleted checks code and low watermark.
func requireDeleted(c *conn, code int16, low int64, got kmsg.DeleteRecordsResponseTopicPartition) {
	c.t.Helper()
	require.Equal(c.t, code, got.ErrorCode)
	require.Equal(c.t, low, got.LowWatermark)
}

func TestDeleteRecordsMovesTheLogStart(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		c := start(t).dial(t)
		tp := createTopic(c, 2)
		for i := range 5 {
			mustProduce(c, tp, kv("k", string(rune('a'+i))), kv("l", "x"))
		}
		requireDeleted(c, 0, 3, deleteRecords(c, version, tp, 0, 3)) // inside a batch
		require.EqualValues(t, 3, listOffset(c, tp, 0, -2).Offset)
		require.EqualValues(t, 3, listOffsetAs(c, tp, 0, -4, 8).Offset, "earliest local")
		require.EqualValues(t, 10, listOffset(c, tp, 0, -1).Offset)
		require.EqualValues(t, 1, fetchAt(c, tp, 2).ErrorCode, "below the log start")
		got := fetchAt(c, tp, 3)
		require.Zero(t, got.ErrorCode)
		require.EqualValues(t, 3, got.LogStartOffset)
		require.EqualValues(t, 2, batchesOf(c, got.RecordBatches)[0].FirstOffset, "the batch is given as a whole")

		requireDeleted(c, 0, 3, deleteRecords(c, version, tp, 0, 1)) // below the log start: nothing
		requireDeleted(c, 1, -1, deleteRecords(c, version, tp, 0, 11))
		requireDeleted(c, 1, -1, deleteRecords(c, version, tp, 0, -2))
		requireDeleted(c, 3, -1, deleteRecords(c, version, tp, 9, 0))
		requireDeleted(c, 3, -1, deleteRecords(c, version, topic{name: topicName(t)}, 0, 0))
		requireDeleted(c, 0, 0, deleteRecords(c, version, tp, 1, -1)) // an empty partition
		requireDeleted(c, 0, 10, deleteRecords(c, version, tp, 0, -1))
		require.EqualValues(t, 10, listOffset(c, tp, 0, -2).Offset)
		at := fetchAt(c, tp, 10)
		require.Zero(t, at.ErrorCode)
		require.Empty(t, at.RecordBatches)
		require.EqualValues(t, 10, mustProduce(c, tp, kv("k", "after")))
	}
}

func TestDeleteRecordsOfACompactedTopic(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "cleanup.policy", "compact")
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"))
	requireDeleted(c, 44, -1, deleteRecords(c, 2, tp, 0, 1))
	requireDeleted(c, 44, -1, deleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 0, listOffset(c, tp, 0, -2).Offset)
	require.Len(t, batchesOf(c, fetchAt(c, tp, 0).RecordBatches), 1)
}

func TestDeleteRecordsOfACompactedTopicThatDeletesToo(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "cleanup.policy", "compact,delete")
	mustProduce(c, tp, kv("a", "1"))
	mustProduce(c, tp, kv("b", "2"))
	mustProduce(c, tp, kv("c", "3"))
	requireDeleted(c, 0, 2, deleteRecords(c, 2, tp, 0, 2))
	require.EqualValues(t, 2, listOffset(c, tp, 0, -2).Offset)
	require.EqualValues(t, 1, fetchAt(c, tp, 1).ErrorCode)
	require.EqualValues(t, 2, batchesOf(c, fetchAt(c, tp, 2).RecordBatches)[0].FirstOffset)
	requireDeleted(c, 0, 3, deleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 3, mustProduce(c, tp, kv("d", "4")))
	require.EqualValues(t, 3, batchesOf(c, fetchAt(c, tp, 3).RecordBatches)[0].FirstOffset)
}

func TestDeleteRecordsKeepsProducerState(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	id := newProducerID(c)
	require.Zero(t, produce(c, tp, sequenced(id, 0, 0, kv("a", "1"), kv("b", "2"))).ErrorCode)
	requireDeleted(c, 0, 2, deleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 45, produce(c, tp, sequenced(id, 0, 5, kv("c", "3"))).ErrorCode, "a gap")
	next := produce(c, tp, sequenced(id, 0, 2, kv("c", "3")))
	require.Zero(t, next.ErrorCode)
	require.EqualValues(t, 2, next.BaseOffset)
}

// Offsets by time look at what is left only.
func TestDeleteRecordsAndOffsetsByTime(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	now := time.Now().UnixMilli()
	for i := range int64(4) {
		b := newBatch(kv("k", "v"))
		b.FirstTimestamp, b.MaxTimestamp = now-1000+i, now-1000+i
		require.Zero(t, produce(c, tp, seal(b)).ErrorCode)
	}
	requireDeleted(c, 0, 2, deleteRecords(c, 2, tp, 0, 2))
	require.EqualValues(t, 2, listOffset(c, tp, 0, now-1000).Offset)
	require.EqualValues(t, 3, listOffset(c, tp, 0, now-1000+3).Offset)
}
