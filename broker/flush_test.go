package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/topics"
)

// A consumer that has read to the end of a topic without syncs may delete what it has read: all of it, as where every record is synced.
func TestDeleteRecordsThatAreNotSynced(t *testing.T) {
	l := startBroker(t).ledger(t, map[string]string{"flush.messages": "9223372036854775807", "cleanup.policy": "compact,delete"})
	topic, _ := l.b.topics.Get("ledger")
	for range 20 {
		l.add(0, change{"a", 1})
		start, err := l.b.topics.DeleteRecords(t.Context(), topic, topic.Partitions[0], topics.EndOfLog)
		require.NoError(t, err)
		require.Equal(t, l.p.Bounds().HighWatermark, start)
	}
}
