package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A log start among rows: earliest is the log start, a fetch below it is out of range, one at it begins with the first row that is left, and
// a look-up by time sees nothing below. Rows leave the table though nothing comes any more. What lies above N1 goes too.
func TestDeleteRecordsAmongRows(t *testing.T) {
	k := startKeyed(t, 1, "cleanup.policy", "compact,delete", "retention.ms", "-1")
	for i := range 8 {
		k.put(0, raw.KV(fmt.Sprint("k", i), "v"))
	}
	k.put(0, raw.KV("k5", "again")) // 8
	k.trim()
	n1 := k.partition(0).Bounds().DeltaStart
	require.Greater(t, n1, int64(8))

	got := raw.DeleteRecords(k.Conn, 2, k.Topic, 0, 5)
	require.Zero(t, got.ErrorCode)
	require.EqualValues(t, 5, got.LowWatermark)
	require.EqualValues(t, 5, raw.ListOffset(k.Conn, k.Topic, 0, -2).Offset)
	require.EqualValues(t, 1, raw.FetchAt(k.Conn, k.Topic, 4).ErrorCode)
	p := raw.FetchAt(k.Conn, k.Topic, 5)
	require.Zero(t, p.ErrorCode)
	require.EqualValues(t, 5, p.LogStartOffset)
	require.EqualValues(t, 6, raw.BatchesOf(k.Conn, p.RecordBatches)[0].FirstOffset, "5 was overwritten: the next row")
	require.EqualValues(t, 6, raw.ListOffset(k.Conn, k.Topic, 0, 0).Offset)

	tab, err := k.partition(0).Table()
	require.NoError(t, err)
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

	end := raw.ListOffset(k.Conn, k.Topic, 0, -1).Offset
	require.EqualValues(t, end, raw.DeleteRecords(k.Conn, 2, k.Topic, 0, -1).LowWatermark)
	require.EqualValues(t, end, raw.ListOffset(k.Conn, k.Topic, 0, -2).Offset)
	require.EqualValues(t, 1, raw.FetchAt(k.Conn, k.Topic, end-1).ErrorCode)
	require.Empty(t, raw.FetchAt(k.Conn, k.Topic, end).RecordBatches)
	k.eventually(func() bool { return tab.Start() == end })
	_, ok, err = tab.Get([]byte("k5"))
	require.NoError(t, err)
	require.False(t, ok)
}
