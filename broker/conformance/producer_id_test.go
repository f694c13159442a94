package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestInitProducerIDAllVersions(t *testing.T) {
	c := start(t).dial(t)
	seen := map[int64]bool{newProducerID(c): true}
	for version := range int16(6) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.ProducerID, req.ProducerEpoch = version, -1, -1
		resp := do[*kmsg.InitProducerIDResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Zero(t, resp.ProducerEpoch)
		require.False(t, seen[resp.ProducerID])
		seen[resp.ProducerID] = true
	}
}

func TestInitProducerIDEmptyTransactionalID(t *testing.T) {
	c := start(t).dial(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch, req.TransactionalID, req.TransactionTimeoutMillis = 4, -1, -1, kmsg.StringPtr(""), 1000
	require.Equal(t, int16(42), do[*kmsg.InitProducerIDResponse](c, req).ErrorCode)
}

func epochEnd(c *conn, version int16, tp topic, partition, current, epoch int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = version, -1
	p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch = partition, current, epoch
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: tp.name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
	return do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics[0].Partitions[0]
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"))
	epoch := describe(c, tp.name).Partitions[0].LeaderEpoch
	for version := int16(2); version <= 4; version++ {
		p := epochEnd(c, version, tp, 0, epoch, epoch)
		require.Zero(t, p.ErrorCode)
		require.Equal(t, epoch, p.LeaderEpoch)
		require.Equal(t, int64(2), p.EndOffset)
	}
	p := epochEnd(c, 4, tp, 0, -1, epoch+10)
	require.Equal(t, [2]int64{-1, -1}, [2]int64{int64(p.LeaderEpoch), p.EndOffset}, "an epoch of the future is unknown")
	require.Equal(t, int16(75), epochEnd(c, 4, tp, 0, epoch+1, epoch).ErrorCode)
	require.Equal(t, int16(3), epochEnd(c, 4, tp, 9, -1, epoch).ErrorCode)
	require.Equal(t, int16(3), epochEnd(c, 4, topic{name: topicName(t)}, 0, -1, epoch).ErrorCode)
}
