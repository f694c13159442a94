package raw

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffset asks for the offset of a time, or of one of the markers that ListOffsets has for bounds.
func ListOffset(c *Conn, t Topic, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	c.T.Helper()
	return ListOffsetAs(c, t, partition, timestamp, 10)
}

// ListOffsetAs is ListOffset in a version.
func ListOffsetAs(c *Conn, t Topic, partition int32, timestamp int64, version int16) kmsg.ListOffsetsResponseTopicPartition {
	c.T.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.TimeoutMillis = version, -1, 5000
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: t.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	resp := Do[*kmsg.ListOffsetsResponse](c, req)
	require.Len(c.T, resp.Topics, 1)
	require.Len(c.T, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// EpochEnd asks where a leader epoch ended, as a client that believes in the epoch current.
func EpochEnd(c *Conn, version int16, tp Topic, partition, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	c.T.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -1
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: tp.Name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	return Do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]
}

// DeleteRecords moves the log start of a partition.
func DeleteRecords(c *Conn, version int16, t Topic, partition int32, offset int64) kmsg.DeleteRecordsResponseTopicPartition {
	c.T.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.Version, req.TimeoutMillis = version, 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: t.Name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
	return Do[*kmsg.DeleteRecordsResponse](c, req).Topics[0].Partitions[0]
}
