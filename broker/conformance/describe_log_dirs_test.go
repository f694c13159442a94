package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func logDirs(c *conn, version int16, list []kmsg.DescribeLogDirsRequestTopic) kmsg.DescribeLogDirsResponseDir {
	c.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version, req.Topics = version, list
	resp := do[*kmsg.DescribeLogDirsResponse](c, req)
	require.Zero(c.t, resp.ErrorCode)
	require.Len(c.t, resp.Dirs, 1)
	require.Zero(c.t, resp.Dirs[0].ErrorCode)
	require.NotEmpty(c.t, resp.Dirs[0].Dir)
	return resp.Dirs[0]
}

// sizes of a directory's partitions.
func sizes(d kmsg.DescribeLogDirsResponseDir) map[string]map[int32]int64 {
	all := map[string]map[int32]int64{}
	for _, t := range d.Topics {
		all[t.Topic] = map[int32]int64{}
		for _, p := range t.Partitions {
			all[t.Topic][p.Partition] = p.Size
		}
	}
	return all
}

func TestDescribeLogDirsSizes(t *testing.T) {
	c := start(t).dial(t)
	tp, other := createTopic(c, 2), createTopic(c, 1)
	batch := seal(newBatch(kv("a", string(make([]byte, 5000)))))
	for range 3 {
		require.Zero(t, produce(c, tp, append([]byte{}, batch...)).ErrorCode)
	}
	full := int64(3 * len(batch))
	for version := int16(1); version <= 5; version++ {
		all := logDirs(c, version, nil)
		require.Equal(t, map[int32]int64{0: full, 1: 0}, sizes(all)[tp.name], "v%d: the batches' bytes", version)
		require.Contains(t, sizes(all), other.name)
		if version >= 4 {
			require.Positive(t, all.TotalBytes)
			require.Positive(t, all.UsableBytes)
			require.Greater(t, all.TotalBytes, all.UsableBytes)
		}
		some := logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{{Topic: tp.name, Partitions: []int32{0, 0, 99}}, {Topic: topicName(t), Partitions: []int32{0}}})
		require.Equal(t, map[string]map[int32]int64{tp.name: {0: full}}, sizes(some), "what is not there is left out")
		for _, p := range some.Topics[0].Partitions {
			require.Zero(t, p.OffsetLag)
			require.False(t, p.IsFuture)
		}
		require.Empty(t, logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{}).Topics)
		require.Empty(t, logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{{Topic: tp.name}}).Topics)
	}
}
