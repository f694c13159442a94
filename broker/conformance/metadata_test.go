package conformance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func metadata(c *conn, version int16, create bool, names ...string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, create
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	return do[*kmsg.MetadataResponse](c, req)
}

func hasTopic(resp *kmsg.MetadataResponse, name string) bool {
	for _, t := range resp.Topics {
		if t.Topic != nil && *t.Topic == name {
			return true
		}
	}
	return false
}

func TestMetadataAllVersions(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 3)
	for version := range int16(14) {
		resp := metadata(c, version, false, tp.name)
		require.Len(t, resp.Brokers, 1)
		require.Equal(t, int32(1), resp.Brokers[0].NodeID)
		require.NotZero(t, resp.Brokers[0].Port)
		if version >= 2 {
			require.NotEmpty(t, *resp.ClusterID)
		}
		if version >= 1 {
			require.Equal(t, int32(1), resp.ControllerID)
		}
		require.Len(t, resp.Topics, 1)
		mt := resp.Topics[0]
		require.Zero(t, mt.ErrorCode)
		require.Len(t, mt.Partitions, 3)
		if version >= 10 {
			require.Equal(t, tp.id, mt.TopicID)
		}
		for _, p := range mt.Partitions {
			require.Equal(t, []int32{1}, p.Replicas)
			require.Equal(t, []int32{1}, p.ISR)
			require.Equal(t, int32(1), p.Leader)
		}
		if version >= 8 {
			require.Equal(t, int32(-2147483648), mt.AuthorizedOperations)
		}
	}
}

func TestMetadataAllTopicsAndNone(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	require.True(t, hasTopic(metadata(c, 0, false), tp.name), "v0: an empty list is all")
	require.Empty(t, metadata(c, 1, false).Topics, "v1: an empty list is none")
	for _, version := range []int16{1, 9, 12, 13} {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = version, nil
		require.True(t, hasTopic(do[*kmsg.MetadataResponse](c, req), tp.name), "v%d: null is all", version)
	}
}

func TestMetadataByID(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: tp.id}, {TopicID: [16]byte{1, 2, 3}}}
	resp := do[*kmsg.MetadataResponse](c, req)
	require.Len(t, resp.Topics, 2)
	for _, mt := range resp.Topics {
		if mt.TopicID == tp.id {
			require.Zero(t, mt.ErrorCode)
			require.Equal(t, tp.name, *mt.Topic)
		} else {
			require.Equal(t, int16(100), mt.ErrorCode)
		}
	}
}

// Ids can be asked for from v12 on; before, they are refused with everything beside them. An id counts more than a name.
func TestMetadataByIDOnlyWhereThatIsKnown(t *testing.T) {
	c := start(t).dial(t)
	tp, none := createTopic(c, 1), topicName(t)
	ask := func(version int16, list ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.AllowAutoTopicCreation, req.Topics = version, false, list
		return do[*kmsg.MetadataResponse](c, req)
	}
	for version := int16(10); version <= 11; version++ {
		for _, rt := range ask(version, kmsg.MetadataRequestTopic{TopicID: tp.id}, kmsg.MetadataRequestTopic{Topic: &tp.name}).Topics {
			require.Equal(t, int16(42), rt.ErrorCode, "v%d", version)
		}
	}
	for version := int16(12); version <= 13; version++ {
		resp := ask(version, kmsg.MetadataRequestTopic{TopicID: tp.id, Topic: &none})
		require.Len(t, resp.Topics, 1)
		require.Zero(t, resp.Topics[0].ErrorCode)
		require.Equal(t, tp.name, *resp.Topics[0].Topic)
		require.Len(t, ask(version, kmsg.MetadataRequestTopic{TopicID: tp.id}, kmsg.MetadataRequestTopic{TopicID: tp.id}).Topics, 1)
	}
}

func TestMetadataInvalidNames(t *testing.T) {
	c := start(t).dial(t)
	for _, name := range []string{"", ".", "..", "a b", "ä", "a/b", strings.Repeat("x", 250)} {
		resp := metadata(c, 8, true, name)
		require.Len(t, resp.Topics, 1)
		require.Equal(t, int16(17), resp.Topics[0].ErrorCode, "%q", name)
	}
}

func TestMetadataCreatesTopicsWhereAllowed(t *testing.T) {
	c := start(t).dial(t)
	name := topicName(t)
	require.Equal(t, int16(3), metadata(c, 8, false, name).Topics[0].ErrorCode)
	require.Equal(t, int16(3), metadata(c, 8, false, name).Topics[0].ErrorCode, "asking did not create it")
	require.Eventually(t, func() bool {
		mt := metadata(c, 8, true, name).Topics[0]
		return mt.ErrorCode == 0 && len(mt.Partitions) == 1
	}, 10*time.Second, time.Millisecond)
	before4 := topicName(t)
	require.Eventually(t, func() bool { return metadata(c, 1, false, before4).Topics[0].ErrorCode == 0 }, 10*time.Second, time.Millisecond)
}

func TestMetadataAuthorizedOperations(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = 9, true, true
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &tp.name}}
	resp := do[*kmsg.MetadataResponse](c, req)
	require.Equal(t, int32(0b1_1111_1010_0000), resp.AuthorizedOperations)
	require.Equal(t, int32(0b1101_1111_1000), resp.Topics[0].AuthorizedOperations)
}

func TestMetadataAnswersATopicOnce(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	require.Len(t, metadata(c, 9, false, tp.name, tp.name, tp.name).Topics, 1)
}
