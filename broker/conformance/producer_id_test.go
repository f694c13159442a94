package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestInitProducerIDAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	seen := map[int64]bool{raw.NewProducerID(c): true}
	for version := range int16(6) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.Version, req.ProducerID, req.ProducerEpoch = version, -1, -1
		resp := raw.Do[*kmsg.InitProducerIDResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Zero(t, resp.ProducerEpoch)
		require.False(t, seen[resp.ProducerID])
		seen[resp.ProducerID] = true
	}
}

func TestInitProducerIDEmptyTransactionalID(t *testing.T) {
	c := start(t).Dial(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch, req.TransactionalID, req.TransactionTimeoutMillis = 4, -1, -1, kmsg.StringPtr(""), 1000
	require.Equal(t, int16(42), raw.Do[*kmsg.InitProducerIDResponse](c, req).ErrorCode)
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	for version := int16(2); version <= 4; version++ {
		p := raw.EpochEnd(c, version, tp, 0, epoch, epoch)
		require.Zero(t, p.ErrorCode)
		require.Equal(t, epoch, p.LeaderEpoch)
		require.Equal(t, int64(2), p.EndOffset)
	}
	p := raw.EpochEnd(c, 4, tp, 0, -1, epoch+10)
	require.Equal(t, [2]int64{-1, -1}, [2]int64{int64(p.LeaderEpoch), p.EndOffset}, "an epoch of the future is unknown")
	require.Equal(t, int16(75), raw.EpochEnd(c, 4, tp, 0, epoch+1, epoch).ErrorCode)
	require.Equal(t, int16(3), raw.EpochEnd(c, 4, tp, 9, -1, epoch).ErrorCode)
	require.Equal(t, int16(3), raw.EpochEnd(c, 4, raw.Topic{Name: raw.TopicName(t)}, 0, -1, epoch).ErrorCode)
}
