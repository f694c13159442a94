package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A topic that is created anew is another one: whoever comes with the id of the old one is told that there is no such topic (KIP-516),
// wherever topics have ids.
func TestRecreatedTopicHasAnotherID(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	old := raw.CreateTopic(c, 1)
	raw.MustProduce(c, old, raw.KV("a", "1"))
	require.Zero(t, deleteTopics(c, 6, raw.Topic{ID: old.ID})[0].ErrorCode)
	require.Eventually(t, func() bool { return raw.DescribeTopic(c, old.Name).ErrorCode == 3 }, time.Minute, time.Millisecond)
	again := raw.CreateNamed(c, old.Name, 1)
	require.NotEqual(t, old.ID, again.ID)
	require.NotZero(t, again.ID)
	require.Zero(t, raw.ListOffset(c, again, 0, -1).Offset, "it is empty")

	unknown := map[string]int16{}
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{{TopicID: old.ID}}
	unknown["Metadata"] = raw.Do[*kmsg.MetadataResponse](c, req).Topics[0].ErrorCode
	unknown["Produce"] = raw.ProduceAs(c, raw.ProduceTo(old, 0, 13, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))).ErrorCode
	unknown["Fetch"] = raw.FetchAs(c, raw.FetchFrom(old, 0, 13)).ErrorCode
	unknown["DeleteTopics"] = deleteTopics(c, 6, raw.Topic{ID: old.ID})[0].ErrorCode
	m := b.Simple(t, raw.TopicName(t))
	unknown["OffsetCommit"] = m.Commit(10, old, raw.NewOffset(0, 1, -1, ""))[0]
	unknown["OffsetFetch"] = m.Fetch(10, old, 0)[0].ErrorCode
	for api, code := range unknown {
		require.Equal(t, int16(100), code, api)
	}
}

// Only Metadata creates topics.
func TestOnlyMetadataCreatesTopics(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	none := raw.Topic{Name: raw.TopicName(t)}
	require.Equal(t, int16(3), raw.ProduceAs(c, raw.ProduceTo(none, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))).ErrorCode)
	require.Equal(t, int16(3), raw.FetchAt(c, none, 0).ErrorCode)
	require.Equal(t, int16(3), raw.ListOffset(c, none, 0, -1).ErrorCode)
	require.Equal(t, []int16{3}, b.Simple(t, raw.TopicName(t)).Commit(8, none, raw.NewOffset(0, 1, -1, "")))
	require.Equal(t, int16(3), raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, none.Name).ErrorCode)
	require.Equal(t, int16(3), raw.DescribeTopic(c, none.Name).ErrorCode)
}
