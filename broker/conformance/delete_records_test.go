package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// requireDeleted checks code and low watermark.
func requireDeleted(c *raw.Conn, code int16, low int64, got kmsg.DeleteRecordsResponseTopicPartition) {
	c.T.Helper()
	require.Equal(c.T, code, got.ErrorCode)
	require.Equal(c.T, low, got.LowWatermark)
}

func TestDeleteRecordsMovesTheLogStart(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		c := start(t).Dial(t)
		tp := raw.CreateTopic(c, 2)
		for i := range 5 {
			raw.MustProduce(c, tp, raw.KV("k", string(rune('a'+i))), raw.KV("l", "x"))
		}
		requireDeleted(c, 0, 3, raw.DeleteRecords(c, version, tp, 0, 3)) // inside a batch
		require.EqualValues(t, 3, raw.ListOffset(c, tp, 0, -2).Offset)
		require.EqualValues(t, 3, raw.ListOffsetAs(c, tp, 0, -4, 8).Offset, "earliest local")
		require.EqualValues(t, 10, raw.ListOffset(c, tp, 0, -1).Offset)
		require.EqualValues(t, 1, raw.FetchAt(c, tp, 2).ErrorCode, "below the log start")
		got := raw.FetchAt(c, tp, 3)
		require.Zero(t, got.ErrorCode)
		require.EqualValues(t, 3, got.LogStartOffset)
		require.EqualValues(t, 2, raw.BatchesOf(c, got.RecordBatches)[0].FirstOffset, "the batch is given as a whole")

		requireDeleted(c, 0, 3, raw.DeleteRecords(c, version, tp, 0, 1)) // below the log start: nothing
		requireDeleted(c, 1, -1, raw.DeleteRecords(c, version, tp, 0, 11))
		requireDeleted(c, 1, -1, raw.DeleteRecords(c, version, tp, 0, -2))
		requireDeleted(c, 3, -1, raw.DeleteRecords(c, version, tp, 9, 0))
		requireDeleted(c, 3, -1, raw.DeleteRecords(c, version, raw.Topic{Name: raw.TopicName(t)}, 0, 0))
		requireDeleted(c, 0, 0, raw.DeleteRecords(c, version, tp, 1, -1)) // an empty partition
		requireDeleted(c, 0, 10, raw.DeleteRecords(c, version, tp, 0, -1))
		require.EqualValues(t, 10, raw.ListOffset(c, tp, 0, -2).Offset)
		at := raw.FetchAt(c, tp, 10)
		require.Zero(t, at.ErrorCode)
		require.Empty(t, at.RecordBatches)
		require.EqualValues(t, 10, raw.MustProduce(c, tp, raw.KV("k", "after")))
	}
}

func TestDeleteRecordsOfACompactedTopic(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	requireDeleted(c, 44, -1, raw.DeleteRecords(c, 2, tp, 0, 1))
	requireDeleted(c, 44, -1, raw.DeleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 0, raw.ListOffset(c, tp, 0, -2).Offset)
	require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches), 1)
}

func TestDeleteRecordsOfACompactedTopicThatDeletesToo(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact,delete")
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	raw.MustProduce(c, tp, raw.KV("b", "2"))
	raw.MustProduce(c, tp, raw.KV("c", "3"))
	requireDeleted(c, 0, 2, raw.DeleteRecords(c, 2, tp, 0, 2))
	require.EqualValues(t, 2, raw.ListOffset(c, tp, 0, -2).Offset)
	require.EqualValues(t, 1, raw.FetchAt(c, tp, 1).ErrorCode)
	require.EqualValues(t, 2, raw.BatchesOf(c, raw.FetchAt(c, tp, 2).RecordBatches)[0].FirstOffset)
	requireDeleted(c, 0, 3, raw.DeleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 3, raw.MustProduce(c, tp, raw.KV("d", "4")))
	require.EqualValues(t, 3, raw.BatchesOf(c, raw.FetchAt(c, tp, 3).RecordBatches)[0].FirstOffset)
}

func TestDeleteRecordsKeepsProducerState(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	id := raw.NewProducerID(c)
	require.Zero(t, raw.Produce(c, tp, raw.Sequenced(id, 0, 0, raw.KV("a", "1"), raw.KV("b", "2"))).ErrorCode)
	requireDeleted(c, 0, 2, raw.DeleteRecords(c, 2, tp, 0, -1))
	require.EqualValues(t, 45, raw.Produce(c, tp, raw.Sequenced(id, 0, 5, raw.KV("c", "3"))).ErrorCode, "a gap")
	next := raw.Produce(c, tp, raw.Sequenced(id, 0, 2, raw.KV("c", "3")))
	require.Zero(t, next.ErrorCode)
	require.EqualValues(t, 2, next.BaseOffset)
}

// Offsets by time look at what is left only.
func TestDeleteRecordsAndOffsetsByTime(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	now := time.Now().UnixMilli()
	for i := range int64(4) {
		b := raw.NewBatch(raw.KV("k", "v"))
		b.FirstTimestamp, b.MaxTimestamp = now-1000+i, now-1000+i
		require.Zero(t, raw.Produce(c, tp, raw.Seal(b)).ErrorCode)
	}
	requireDeleted(c, 0, 2, raw.DeleteRecords(c, 2, tp, 0, 2))
	require.EqualValues(t, 2, raw.ListOffset(c, tp, 0, now-1000).Offset)
	require.EqualValues(t, 3, raw.ListOffset(c, tp, 0, now-1000+3).Offset)
}
