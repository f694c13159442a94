package kafka_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestRestart: what a client can rely on across a restart of the broker.
func TestRestart(t *testing.T) {
	fs := vfs.NewMem()
	var tp raw.Topic
	var id int64
	var epoch int32
	t.Run("before", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).Dial(t)
		tp = raw.CreateTopic(c, 1, "retention.ms", "-1")
		id = raw.NewProducerID(c)
		require.Zero(t, raw.Produce(c, tp, raw.Sequenced(id, 0, 0, raw.KV("a", "1"), raw.KV("b", "2"))).ErrorCode)
		epoch = raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	})
	t.Run("after", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).Dial(t)
		mt := raw.DescribeTopic(c, tp.Name)
		require.Equal(t, tp.ID, mt.TopicID)
		require.Greater(t, mt.Partitions[0].LeaderEpoch, epoch, "the leader epoch rises at every start")
		require.NotEqual(t, id, raw.NewProducerID(c))

		again := raw.Produce(c, tp, raw.Sequenced(id, 0, 0, raw.KV("a", "1"), raw.KV("b", "2")))
		require.Zero(t, again.ErrorCode)
		require.Zero(t, again.BaseOffset, "the retry of a batch from before the restart is a duplicate")
		require.Equal(t, int64(2), raw.Produce(c, tp, raw.Sequenced(id, 0, 2, raw.KV("c", "3"))).BaseOffset)

		req := raw.FetchFrom(tp, 0, 12)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		require.Equal(t, int16(74), raw.FetchAs(c, req).ErrorCode, "an old leader epoch is fenced")
		p := raw.EpochEnd(c, 4, tp, 0, -1, epoch)
		require.Equal(t, epoch, p.LeaderEpoch)
		require.Equal(t, int64(2), p.EndOffset)

		req = raw.FetchFrom(tp, 3, 12)
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		diverging := raw.FetchAs(c, req)
		require.Zero(t, diverging.ErrorCode)
		require.Empty(t, diverging.RecordBatches)
		require.Equal(t, epoch, diverging.DivergingEpoch.Epoch)
		require.Equal(t, int64(2), diverging.DivergingEpoch.EndOffset)

		require.Equal(t, "-1", *raw.ConfigNamed(t, raw.DescribeConfigs(c, 4, 2, tp.Name), "retention.ms").Value)
		require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches), 2)
	})
}

// Partitions that a topic got later are there after a restart, with what was written to them.
func TestRestartOfAGrownTopic(t *testing.T) {
	fs := vfs.NewMem()
	var tp raw.Topic
	t.Run("before", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).Dial(t)
		tp = raw.CreateTopic(c, 1)
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.Topics = 3, []kmsg.CreatePartitionsRequestTopic{{Topic: tp.Name, Count: 3}}
		raw.RequireCode(t, 0, raw.Do[*kmsg.CreatePartitionsResponse](c, req).Topics[0].ErrorCode, nil)
		require.Zero(t, raw.ProduceAs(c, raw.ProduceTo(tp, 2, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))).ErrorCode)
	})
	t.Run("after", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).Dial(t)
		mt := raw.DescribeTopic(c, tp.Name)
		require.Equal(t, tp.ID, mt.TopicID)
		require.Len(t, mt.Partitions, 3)
		require.Equal(t, int64(1), raw.ListOffset(c, tp, 2, -1).Offset)
		require.Equal(t, int64(1), raw.ProduceAs(c, raw.ProduceTo(tp, 2, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))).BaseOffset)
	})
}
