package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func logDirs(c *raw.Conn, version int16, list []kmsg.DescribeLogDirsRequestTopic) kmsg.DescribeLogDirsResponseDir {
	c.T.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Version, req.Topics = version, list
	resp := raw.Do[*kmsg.DescribeLogDirsResponse](c, req)
	require.Zero(c.T, resp.ErrorCode)
	require.Len(c.T, resp.Dirs, 1)
	require.Zero(c.T, resp.Dirs[0].ErrorCode)
	require.NotEmpty(c.T, resp.Dirs[0].Dir)
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
	c := start(t).Dial(t)
	tp, other := raw.CreateTopic(c, 2), raw.CreateTopic(c, 1)
	batch := raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 5000)))))
	for range 3 {
		require.Zero(t, raw.Produce(c, tp, append([]byte{}, batch...)).ErrorCode)
	}
	full := int64(3 * len(batch))
	for version := int16(1); version <= 5; version++ {
		all := logDirs(c, version, nil)
		require.Equal(t, map[int32]int64{0: full, 1: 0}, sizes(all)[tp.Name], "v%d: the batches' bytes", version)
		require.Contains(t, sizes(all), other.Name)
		if version >= 4 {
			require.Positive(t, all.TotalBytes)
			require.Positive(t, all.UsableBytes)
			require.Greater(t, all.TotalBytes, all.UsableBytes)
		}
		some := logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{{Topic: tp.Name, Partitions: []int32{0, 0, 99}}, {Topic: raw.TopicName(t), Partitions: []int32{0}}})
		require.Equal(t, map[string]map[int32]int64{tp.Name: {0: full}}, sizes(some), "what is not there is left out")
		for _, p := range some.Topics[0].Partitions {
			require.Zero(t, p.OffsetLag)
			require.False(t, p.IsFuture)
		}
		require.Empty(t, logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{}).Topics)
		require.Empty(t, logDirs(c, version, []kmsg.DescribeLogDirsRequestTopic{{Topic: tp.Name}}).Topics)
	}
}
