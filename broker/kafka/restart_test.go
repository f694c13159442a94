package kafka_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestRestart: what a client can rely on across a restart of the broker.
func TestRestart(t *testing.T) {
	fs := vfs.NewMem()
	var tp topic
	var id int64
	var epoch int32
	t.Run("before", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).dial(t)
		tp = createTopic(c, 1, "retention.ms", "-1")
		id = newProducerID(c)
		require.Zero(t, produce(c, tp, sequenced(id, 0, 0, kv("a", "1"), kv("b", "2"))).ErrorCode)
		epoch = describe(c, tp.name).Partitions[0].LeaderEpoch
	})
	t.Run("after", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).dial(t)
		mt := describe(c, tp.name)
		require.Equal(t, tp.id, mt.TopicID)
		require.Greater(t, mt.Partitions[0].LeaderEpoch, epoch, "the leader epoch rises at every start")
		require.NotEqual(t, id, newProducerID(c))

		again := produce(c, tp, sequenced(id, 0, 0, kv("a", "1"), kv("b", "2")))
		require.Zero(t, again.ErrorCode)
		require.Zero(t, again.BaseOffset, "the retry of a batch from before the restart is a duplicate")
		require.Equal(t, int64(2), produce(c, tp, sequenced(id, 0, 2, kv("c", "3"))).BaseOffset)

		req := fetchFrom(tp, 0, 12)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = epoch
		require.Equal(t, int16(74), fetchAs(c, req).ErrorCode, "an old leader epoch is fenced")
		p := epochEnd(c, 4, tp, 0, -1, epoch)
		require.Equal(t, epoch, p.LeaderEpoch)
		require.Equal(t, int64(2), p.EndOffset)

		req = fetchFrom(tp, 3, 12)
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		diverging := fetchAs(c, req)
		require.Zero(t, diverging.ErrorCode)
		require.Empty(t, diverging.RecordBatches)
		require.Equal(t, epoch, diverging.DivergingEpoch.Epoch)
		require.Equal(t, int64(2), diverging.DivergingEpoch.EndOffset)

		require.Equal(t, "-1", *configNamed(t, describeConfigs(c, 4, 2, tp.name), "retention.ms").Value)
		require.Len(t, batchesOf(c, fetchAt(c, tp, 0).RecordBatches), 2)
	})
}

// Partitions that a topic got later are there after a restart, with what was written to them.
func TestRestartOfAGrownTopic(t *testing.T) {
	fs := vfs.NewMem()
	var tp topic
	t.Run("before", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).dial(t)
		tp = createTopic(c, 1)
		req := kmsg.NewPtrCreatePartitionsRequest()
		req.Version, req.Topics = 3, []kmsg.CreatePartitionsRequestTopic{{Topic: tp.name, Count: 3}}
		requireCode(t, 0, do[*kmsg.CreatePartitionsResponse](c, req).Topics[0].ErrorCode, nil)
		require.Zero(t, produceAs(c, produceTo(tp, 2, 9, seal(newBatch(kv("a", "1"))))).ErrorCode)
	})
	t.Run("after", func(t *testing.T) {
		c := startOwn(t, options{fs: fs}).dial(t)
		mt := describe(c, tp.name)
		require.Equal(t, tp.id, mt.TopicID)
		require.Len(t, mt.Partitions, 3)
		require.Equal(t, int64(1), listOffset(c, tp, 2, -1).Offset)
		require.Equal(t, int64(1), produceAs(c, produceTo(tp, 2, 9, seal(newBatch(kv("a", "1"))))).BaseOffset)
	})
}
