package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestAlterPartitionReassignments(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	reassign := func(version int16, name string, partition int32, replicas []int32) int16 {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Version, req.TimeoutMillis = version, 10_000
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: name, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{
			{Partition: partition, Replicas: replicas}}}}
		resp := raw.Do[*kmsg.AlterPartitionAssignmentsResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Len(t, resp.Topics, 1)
		require.Len(t, resp.Topics[0].Partitions, 1)
		return resp.Topics[0].Partitions[0].ErrorCode
	}
	for version := range int16(2) {
		require.Zero(t, reassign(version, tp.Name, 0, []int32{1}), "where it is already")
		require.Equal(t, int16(85), reassign(version, tp.Name, 0, nil), "nothing to cancel")
		for _, replicas := range [][]int32{{}, {7}, {-7}, {1, 2}, {1, 1}} {
			require.Equal(t, int16(39), reassign(version, tp.Name, 0, replicas), "%v", replicas)
		}
		require.Equal(t, int16(3), reassign(version, tp.Name, 9, []int32{1}))
		require.Equal(t, int16(3), reassign(version, raw.TopicName(t), 0, []int32{1}))
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Version = version
		require.Empty(t, raw.Do[*kmsg.AlterPartitionAssignmentsResponse](c, req).Topics)
	}
}

func TestListPartitionReassignments(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for _, list := range [][]kmsg.ListPartitionReassignmentsRequestTopic{
		nil, {}, {{Topic: tp.Name, Partitions: []int32{0, 99}}, {Topic: raw.TopicName(t), Partitions: []int32{0}}},
	} {
		req := kmsg.NewPtrListPartitionReassignmentsRequest()
		req.TimeoutMillis, req.Topics = 10_000, list
		resp := raw.Do[*kmsg.ListPartitionReassignmentsResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Empty(t, resp.Topics)
	}
}
