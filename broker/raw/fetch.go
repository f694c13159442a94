package raw

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchFrom makes a request for one partition.
func FetchFrom(t Topic, offset int64, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = version, 0, 1, 50<<20, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.FetchRequestTopicPartition{FetchPartition(0, offset)}}}
	return req
}

// FetchPartition is a partition of a request, without a leader epoch.
func FetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	return p
}

// FetchAs sends a request for one partition and returns its answer.
func FetchAs(c *Conn, req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	c.T.Helper()
	resp := Do[*kmsg.FetchResponse](c, req)
	require.Zero(c.T, resp.ErrorCode)
	require.Len(c.T, resp.Topics, 1)
	require.Len(c.T, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// FetchAt reads one partition from an offset on.
func FetchAt(c *Conn, t Topic, offset int64) kmsg.FetchResponseTopicPartition {
	c.T.Helper()
	return FetchAs(c, FetchFrom(t, offset, 12))
}
