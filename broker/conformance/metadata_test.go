package conformance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func hasTopic(resp *kmsg.MetadataResponse, name string) bool {
	for _, t := range resp.Topics {
		if t.Topic != nil && *t.Topic == name {
			return true
		}
	}
	return false
}

func TestMetadataAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 3)
	for version := range int16(14) {
		resp := raw.Metadata(c, version, false, tp.Name)
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
			require.Equal(t, tp.ID, mt.TopicID)
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
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.True(t, hasTopic(raw.Metadata(c, 0, false), tp.Name), "v0: an empty list is all")
	require.Empty(t, raw.Metadata(c, 1, false).Topics, "v1: an empty list is none")
	for _, version := range []int16{1, 9, 12, 13} {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.Topics = version, nil
		require.True(t, hasTopic(raw.Do[*kmsg.MetadataResponse](c, req), tp.Name), "v%d: null is all", version)
	}
}

func TestMetadataByID(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{TopicID: tp.ID}, {TopicID: [16]byte{1, 2, 3}}}
	resp := raw.Do[*kmsg.MetadataResponse](c, req)
	require.Len(t, resp.Topics, 2)
	for _, mt := range resp.Topics {
		if mt.TopicID == tp.ID {
			require.Zero(t, mt.ErrorCode)
			require.Equal(t, tp.Name, *mt.Topic)
		} else {
			require.Equal(t, int16(100), mt.ErrorCode)
		}
	}
}

// Ids can be asked for from v12 on; before, they are refused with everything beside them. An id counts more than a name.
func TestMetadataByIDOnlyWhereThatIsKnown(t *testing.T) {
	c := start(t).Dial(t)
	tp, none := raw.CreateTopic(c, 1), raw.TopicName(t)
	ask := func(version int16, list ...kmsg.MetadataRequestTopic) *kmsg.MetadataResponse {
		req := kmsg.NewPtrMetadataRequest()
		req.Version, req.AllowAutoTopicCreation, req.Topics = version, false, list
		return raw.Do[*kmsg.MetadataResponse](c, req)
	}
	for version := int16(10); version <= 11; version++ {
		for _, rt := range ask(version, kmsg.MetadataRequestTopic{TopicID: tp.ID}, kmsg.MetadataRequestTopic{Topic: &tp.Name}).Topics {
			require.Equal(t, int16(42), rt.ErrorCode, "v%d", version)
		}
	}
	for version := int16(12); version <= 13; version++ {
		resp := ask(version, kmsg.MetadataRequestTopic{TopicID: tp.ID, Topic: &none})
		require.Len(t, resp.Topics, 1)
		require.Zero(t, resp.Topics[0].ErrorCode)
		require.Equal(t, tp.Name, *resp.Topics[0].Topic)
		require.Len(t, ask(version, kmsg.MetadataRequestTopic{TopicID: tp.ID}, kmsg.MetadataRequestTopic{TopicID: tp.ID}).Topics, 1)
	}
}

func TestMetadataInvalidNames(t *testing.T) {
	c := start(t).Dial(t)
	for _, name := range []string{"", ".", "..", "a b", "ä", "a/b", strings.Repeat("x", 250)} {
		resp := raw.Metadata(c, 8, true, name)
		require.Len(t, resp.Topics, 1)
		require.Equal(t, int16(17), resp.Topics[0].ErrorCode, "%q", name)
	}
}

func TestMetadataCreatesTopicsWhereAllowed(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	require.Equal(t, int16(3), raw.Metadata(c, 8, false, name).Topics[0].ErrorCode)
	require.Equal(t, int16(3), raw.Metadata(c, 8, false, name).Topics[0].ErrorCode, "asking did not create it")
	require.Eventually(t, func() bool {
		mt := raw.Metadata(c, 8, true, name).Topics[0]
		return mt.ErrorCode == 0 && len(mt.Partitions) == 1
	}, time.Minute, time.Millisecond)
	before4 := raw.TopicName(t)
	require.Eventually(t, func() bool { return raw.Metadata(c, 1, false, before4).Topics[0].ErrorCode == 0 }, time.Minute, time.Millisecond)
}

func TestMetadataAuthorizedOperations(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = 9, true, true
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &tp.Name}}
	resp := raw.Do[*kmsg.MetadataResponse](c, req)
	require.Equal(t, int32(0b1_1111_1010_0000), resp.AuthorizedOperations)
	require.Equal(t, int32(0b1101_1111_1000), resp.Topics[0].AuthorizedOperations)
}

func TestMetadataAnswersATopicOnce(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.Len(t, raw.Metadata(c, 9, false, tp.Name, tp.Name, tp.Name).Topics, 1)
}
