package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestInitProducerIDTransactionsAreRefused(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch, req.TransactionalID, req.TransactionTimeoutMillis = 4, -1, -1, kmsg.StringPtr("tx"), 1000
	require.Equal(t, int16(53), do[*kmsg.InitProducerIDResponse](c, req).ErrorCode)
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
