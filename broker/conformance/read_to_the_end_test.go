package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A consumer that reads to the end that ListOffsets told it gets there, whatever it wrote and however little it asks for at a time: every
// answer below the end brings it on.
func TestReadToTheEnd(t *testing.T) {
	for _, policy := range []string{"delete", "compact"} {
		t.Run(policy, func(t *testing.T) {
			c := start(t).Dial(t)
			tp := raw.CreateTopic(c, 1, "cleanup.policy", policy)
			for _, records := range [][]raw.Record{
				{raw.KV("a", "1"), raw.KV("b", "2")}, {raw.KV("a", "2")}, {{Key: []byte("b")}}, {raw.KV("c", "1"), raw.KV("a", "3"), {Key: []byte("c")}}, {{Key: []byte("a")}},
			} {
				raw.MustProduce(c, tp, records...)
			}
			end := raw.ListOffset(c, tp, 0, -1).Offset
			require.EqualValues(t, 8, end)
			for _, isolation := range []int8{0, 1} {
				position := raw.ListOffset(c, tp, 0, -2).Offset
				for position < end {
					req := raw.FetchFrom(tp, position, 12)
					req.MaxBytes, req.IsolationLevel, req.MaxWaitMillis = 1, isolation, 1000
					p := raw.FetchAs(c, req)
					require.Zero(t, p.ErrorCode)
					batches := raw.BatchesOf(c, p.RecordBatches)
					require.NotEmpty(t, batches, "it hangs at %d of %d", position, end)
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
