package broker

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// A source is compared with more partitions than the broker reads key frames of at a time, whose keys another partitioner has placed, so that each
// question is about all of them: none is refused, however much differs, nor is that of whoever asks about another topic at once afterwards.
func TestPublishStateOfManyPartitions(t *testing.T) {
	b := startBroker(t)
	const partitions = 12
	s := b.sourced(t, "parts", "last-value", partitions)
	other := b.sourced(t, "other", "last-value", 1)
	source := map[string]string{}
	for i := range 300 {
		key := fmt.Sprintf("key-%03d", i)
		source[key] = "v" + strconv.Itoa(i)
		s.write(int32(i%partitions), key, source[key])
	}
	other.write(0, "a", "0")
	for step, every := range []int{300, 3, 1} { // by sketch, by tags, by frame
		written := int64(0)
		for i := 0; i < 300; i += every {
			source[fmt.Sprintf("key-%03d", i)] = fmt.Sprintf("w%d of %d", step, i)
			written++
		}
		done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{})
		require.NoError(t, err)
		require.Equal(t, written, done.Written)
		require.Equal(t, client.Equal, done.Verdict, done.Reason)
		done, err = other.p.PublishState(s.ctx, sourceOf(map[string]string{"a": strconv.Itoa(step + 1)}), client.PublishOptions{})
		require.NoError(t, err)
		require.Equal(t, client.Equal, done.Verdict, done.Reason)
	}
	refused, err := testutil.GatherAndCount(b.metrics, "keyframe_repair_refused_total")
	require.NoError(t, err)
	require.Zero(t, refused, "no question has to be asked again")
}
