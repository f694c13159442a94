package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// deleteOffsets returns the error of all and the codes of each topic's partitions.
func deleteOffsets(c *raw.Conn, group string, partitions map[string][]int32) (all int16, each map[string]map[int32]int16) {
	c.T.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for name, list := range partitions {
		rt := kmsg.OffsetDeleteRequestTopic{Topic: name}
		for _, p := range list {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		req.Topics = append(req.Topics, rt)
	}
	resp := raw.Do[*kmsg.OffsetDeleteResponse](c, req)
	each = map[string]map[int32]int16{}
	for _, rt := range resp.Topics {
		if each[rt.Topic] == nil {
			each[rt.Topic] = map[int32]int16{}
		}
		for _, p := range rt.Partitions {
			each[rt.Topic][p.Partition] = p.ErrorCode
		}
	}
	return resp.ErrorCode, each
}

type codes = map[string]map[int32]int16

func TestOffsetDelete(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp, none := raw.CreateTopic(c, 3), raw.TopicName(t)
	m := b.Simple(t, raw.TopicName(t))
	require.Equal(t, []int16{0, 0}, m.Commit(8, tp, raw.NewOffset(0, 1, -1, ""), raw.NewOffset(1, 2, -1, "")))
	all, each := deleteOffsets(c, m.Group, map[string][]int32{tp.Name: {0, 2, 9}, none: {0}})
	require.Zero(t, all)
	require.Equal(t, codes{tp.Name: {0: 0, 2: 0, 9: 3}, none: {0: 3}}, each, "2 had none, 9 is no partition")
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, -1, -1, "", 0), raw.FetchedOffset(1, 2, -1, "", 0)}, m.Fetch(8, tp, 0, 1))
	all, each = deleteOffsets(c, m.Group, nil)
	require.Zero(t, all)
	require.Empty(t, each)

	for group, code := range map[string]int16{raw.TopicName(t): 69, "": 24} {
		all, each = deleteOffsets(c, group, map[string][]int32{tp.Name: {0}})
		require.Equal(t, code, all, "%q", group)
		require.Empty(t, each)
	}
}

// What a member reads is needed; what no member reads is not.
func TestOffsetDeleteOfASubscribedTopic(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp, other := raw.CreateTopic(c, 1), raw.CreateTopic(c, 1)
	m := b.Member(t, raw.TopicName(t), "")
	m.Protocols = raw.Protocols("range", tp.Name)
	m.Stable()
	try := func() codes {
		require.Equal(t, []int16{0}, m.Commit(9, tp, raw.NewOffset(0, 1, -1, "")))
		require.Equal(t, []int16{0}, m.Commit(9, other, raw.NewOffset(0, 2, -1, "")))
		all, each := deleteOffsets(c, m.Group, map[string][]int32{tp.Name: {0}, other.Name: {0}})
		require.Zero(t, all)
		return each
	}
	require.Equal(t, codes{tp.Name: {0: 86}, other.Name: {0: 0}}, try())
	require.EqualValues(t, 1, m.Fetch(9, tp, 0)[0].Offset)
	require.EqualValues(t, -1, m.Fetch(9, other, 0)[0].Offset)
	require.Zero(t, m.Leave(5).ErrorCode)
	m.ID, m.Generation = "", -1
	require.Equal(t, codes{tp.Name: {0: 0}, other.Name: {0: 0}}, try(), "nobody is left")
}

// Members whose metadata does not say what they read may read anything.
func TestOffsetDeleteOfAGroupThatCannotBeRead(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	m := b.Member(t, raw.TopicName(t), "")
	m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 1}}}
	m.Stable()
	all, each := deleteOffsets(c, m.Group, map[string][]int32{tp.Name: {0}})
	require.Zero(t, all)
	require.Equal(t, codes{tp.Name: {0: 86}}, each)

	connect := b.Member(t, raw.TopicName(t), "")
	req := connect.JoinRequest(3)
	req.ProtocolType = "connect"
	require.Zero(t, connect.Joined(raw.Do[*kmsg.JoinGroupResponse](connect.Conn, req)).ErrorCode)
	require.Zero(t, connect.Sync(3, map[string]string{connect.ID: "x"}).ErrorCode)
	all, each = deleteOffsets(c, connect.Group, map[string][]int32{tp.Name: {0}})
	require.Equal(t, int16(68), all, "no consumers, and not empty")
	require.Empty(t, each)
	require.Zero(t, connect.Leave(3).ErrorCode)
	all, _ = deleteOffsets(c, connect.Group, map[string][]int32{tp.Name: {0}})
	require.Zero(t, all)
}
