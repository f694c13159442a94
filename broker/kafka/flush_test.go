package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestFlushMessagesOfAKeyFramedTopic: what a topic without syncs folds and cuts is what is synced; its consumers see what is written.
func TestFlushMessagesOfAKeyFramedTopic(t *testing.T) {
	k := startKeyed(t, 1, "flush.messages", "9223372036854775807", "flush.ms", "1000")
	for i := range 20 {
		k.put(0, raw.KV(fmt.Sprint("k", i%7), fmt.Sprint(i)))
		require.Equal(t, int64(i+1), raw.ListOffset(k.Conn, k.Topic, 0, -1).Offset, "what is acknowledged is visible")
	}
	k.trim()
	c := k.bootstrap()
	for !c.atEnd() {
		require.Zero(t, c.fetch())
	}
	require.Equal(t, map[string]string{"k0": "14", "k1": "15", "k2": "16", "k3": "17", "k4": "18", "k5": "19", "k6": "13", "last": "v"}, c.rows)
	b := k.partition(0).Bounds()
	require.LessOrEqual(t, b.LastStable, b.Synced)
	require.LessOrEqual(t, b.Synced, b.HighWatermark)
}
