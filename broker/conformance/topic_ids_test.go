package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A topic that is created anew is another one: whoever comes with the id of the old one is told that there is no such topic (KIP-516),
// wherever topics have ids.
func TestRecreatedTopicHasAnotherID(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	old := createTopic(c, 1)
	mustProduce(c, old, kv("a", "1"))
	require.Zero(t, deleteTopics(c, 6, topic{id: old.id})[0].ErrorCode)
	require.Eventually(t, func() bool { return describe(c, old.name).ErrorCode == 3 }, 10*time.Second, time.Millisecond)
	again := createNamed(c, old.name, 1)
	require.NotEqual(t, old.id, again.id)
	require.NotZero(t, again.id)
	require.Zero(t, listOffset(c, again, 0, -1).Offset, "it is empty")

	unknown := map[string]int16{}
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = 12, []kmsg.MetadataRequestTopic{{TopicID: old.id}}
	unknown["Metadata"] = do[*kmsg.MetadataResponse](c, req).Topics[0].ErrorCode
	unknown["Produce"] = produceAs(c, produceTo(old, 0, 13, seal(newBatch(kv("a", "1"))))).ErrorCode
	unknown["Fetch"] = fetchAs(c, fetchFrom(old, 0, 13)).ErrorCode
	unknown["DeleteTopics"] = deleteTopics(c, 6, topic{id: old.id})[0].ErrorCode
	m := b.simple(t, topicName(t))
	unknown["OffsetCommit"] = m.commit(10, old, offset{0, 1, -1, ""})[0]
	unknown["OffsetFetch"] = m.fetch(10, old, 0)[0].ErrorCode
	for api, code := range unknown {
		require.Equal(t, int16(100), code, api)
	}
}

// Only Metadata creates topics.
func TestOnlyMetadataCreatesTopics(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	none := topic{name: topicName(t)}
	require.Equal(t, int16(3), produceAs(c, produceTo(none, 0, 9, seal(newBatch(kv("a", "1"))))).ErrorCode)
	require.Equal(t, int16(3), fetchAt(c, none, 0).ErrorCode)
	require.Equal(t, int16(3), listOffset(c, none, 0, -1).ErrorCode)
	require.Equal(t, []int16{3}, b.simple(t, topicName(t)).commit(8, none, offset{0, 1, -1, ""}))
	require.Equal(t, int16(3), describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, none.name).ErrorCode)
	require.Equal(t, int16(3), describe(c, none.name).ErrorCode)
}
