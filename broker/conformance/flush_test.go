package conformance_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is acknowledged is visible, whatever flush.messages and flush.ms say, and after each of their changes.
func TestFlushMessages(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "flush.messages", strconv.Itoa(math.MaxInt64), "flush.ms", "1000")
	eventuallyConfig(c, ofTopic, tp.name, "flush.messages", strconv.Itoa(math.MaxInt64), dynamicTopic)
	for i, messages := range []string{"", "1", "1000", "1"} {
		if messages != "" {
			require.Zero(t, alter(c, ofTopic, tp.name, set("flush.messages", messages)))
			eventuallyConfig(c, ofTopic, tp.name, "flush.messages", messages, dynamicTopic)
		}
		require.Equal(t, int64(2*i), mustProduce(c, tp, kv("a", "1"), kv("b", "2")))
		require.Equal(t, int64(2*i+2), listOffset(c, tp, 0, -1).Offset)
		require.Len(t, batchesOf(c, fetchAt(c, tp, int64(2*i)).RecordBatches), 1)
	}
	refused := create(c, 7, true, newTopic(topicName(t), 1, 1, "flush.messages", "0"))
	for _, a := range refused {
		require.Equal(t, int16(40), a.ErrorCode)
	}
}
