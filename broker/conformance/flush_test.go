package conformance_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// What is acknowledged is visible, whatever flush.messages and flush.ms say, and after each of their changes.
func TestFlushMessages(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "flush.messages", strconv.Itoa(math.MaxInt64), "flush.ms", "1000")
	eventuallyConfig(c, ofTopic, tp.Name, "flush.messages", strconv.Itoa(math.MaxInt64), dynamicTopic)
	for i, messages := range []string{"", "1", "1000", "1"} {
		if messages != "" {
			require.Zero(t, alter(c, ofTopic, tp.Name, set("flush.messages", messages)))
			eventuallyConfig(c, ofTopic, tp.Name, "flush.messages", messages, dynamicTopic)
		}
		require.Equal(t, int64(2*i), raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2")))
		require.Equal(t, int64(2*i+2), raw.ListOffset(c, tp, 0, -1).Offset)
		require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, int64(2*i)).RecordBatches), 1)
	}
	refused := raw.CreateTopics(c, 7, true, raw.NewTopic(raw.TopicName(t), 1, 1, "flush.messages", "0"))
	for _, a := range refused {
		require.Equal(t, int16(40), a.ErrorCode)
	}
}
