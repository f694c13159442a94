package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A consumer that reads to the end that ListOffsets told it gets there, whatever it wrote and however little it asks for at a time: every
// answer below the end brings it on.
func TestReadToTheEnd(t *testing.T) {
	for _, policy := range []string{"delete", "compact"} {
		t.Run(policy, func(t *testing.T) {
			c := start(t).dial(t)
			tp := createTopic(c, 1, "cleanup.policy", policy)
			for _, records := range [][]testRecord{
				{kv("a", "1"), kv("b", "2")}, {kv("a", "2")}, {{key: []byte("b")}}, {kv("c", "1"), kv("a", "3"), {key: []byte("c")}}, {{key: []byte("a")}},
			} {
				mustProduce(c, tp, records...)
			}
			end := listOffset(c, tp, 0, -1).Offset
			require.EqualValues(t, 8, end)
			for _, isolation := range []int8{0, 1} {
				position := listOffset(c, tp, 0, -2).Offset
				deadline := time.Now().Add(20 * time.Second)
				for position < end {
					require.True(t, time.Now().Before(deadline), "it hangs at %d of %d", position, end)
					req := fetchFrom(tp, position, 12)
					req.MaxBytes, req.IsolationLevel, req.MaxWaitMillis = 1, isolation, 1000
					p := fetchAs(c, req)
					require.Zero(t, p.ErrorCode)
					batches := batchesOf(c, p.RecordBatches)
					require.NotEmpty(t, batches)
					last := batches[len(batches)-1]
					next := last.FirstOffset + int64(last.LastOffsetDelta) + 1
					require.Greater(t, next, position)
					position = next
				}
				require.Equal(t, end, position)
			}
		})
	}
}
