package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func deleteRecords(c *conn, t topic, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = 2, 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: t.name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: offset}}}}
	return do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
}

// A log start among rows: earliest is the log start, a fetch below it is out of range, one at it begins with the first row that is left, and
// a look-up by time sees nothing below. Rows leave the table when something has come behind the newest frame. What lies above N1 goes too.
func TestDeleteRecordsAmongRows(t *testing.T) {
	k := startKeyed(t, 1, "cleanup.policy", "compact,delete", "retention.ms", "-1")
	for i := range 8 {
		k.put(0, kv(fmt.Sprint("k", i), "v"))
	}
	k.put(0, kv("k5", "again")) // 8
	k.trim()
	n1 := k.partition(0).Bounds().DeltaStart
	require.Greater(t, n1, int64(8))

	got := deleteRecords(k.conn, k.topic, 5)
	require.Zero(t, got.ErrorCode)
	require.EqualValues(t, 5, got.LowWatermark)
	require.EqualValues(t, 5, listOffset(k.conn, k.topic, 0, -2).Offset)
	require.EqualValues(t, 1, fetchAt(k.conn, k.topic, 4).ErrorCode)
	p := fetchAt(k.conn, k.topic, 5)
	require.Zero(t, p.ErrorCode)
	require.EqualValues(t, 5, p.LogStartOffset)
	require.EqualValues(t, 6, batchesOf(k.conn, p.RecordBatches)[0].FirstOffset, "5 was overwritten: the next row")
	require.EqualValues(t, 6, listOffset(k.conn, k.topic, 0, 0).Offset)

	tab, err := k.partition(0).Table()
	require.NoError(t, err)
	k.put(0, kv("behind", "v"))
	k.set("keyframe.interval.ms", "3600000") // the cut comes for the log start's sake
	k.eventually(func() bool { return tab.Start() == 5 })
	for _, key := range []string{"k0", "k4"} {
		_, ok, err := tab.Get([]byte(key))
		require.NoError(t, err)
		require.False(t, ok, key)
	}
	_, ok, err := tab.Get([]byte("k5"))
	require.NoError(t, err)
	require.True(t, ok)

	end := listOffset(k.conn, k.topic, 0, -1).Offset
	require.EqualValues(t, end, deleteRecords(k.conn, k.topic, -1).LowWatermark)
	require.EqualValues(t, end, listOffset(k.conn, k.topic, 0, -2).Offset)
	require.EqualValues(t, 1, fetchAt(k.conn, k.topic, end-1).ErrorCode)
	require.Empty(t, fetchAt(k.conn, k.topic, end).RecordBatches)
	k.put(0, kv("new", "v"))
	k.eventually(func() bool { return tab.Start() == end })
	_, ok, err = tab.Get([]byte("k5"))
	require.NoError(t, err)
	require.False(t, ok)
}
