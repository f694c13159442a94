package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// deleteOffsets returns the error of all and the codes of each topic's partitions.
func deleteOffsets(c *conn, group string, partitions map[string][]int32) (all int16, each map[string]map[int32]int16) {
	c.t.Helper()
	req := kmsg.NewPtrOffsetDeleteRequest()
	req.Group = group
	for name, list := range partitions {
		rt := kmsg.OffsetDeleteRequestTopic{Topic: name}
		for _, p := range list {
			rt.Partitions = append(rt.Partitions, kmsg.OffsetDeleteRequestTopicPartition{Partition: p})
		}
		req.Topics = append(req.Topics, rt)
	}
	resp := do[*kmsg.OffsetDeleteResponse](c, req)
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
	c := b.dial(t)
	tp, none := createTopic(c, 3), topicName(t)
	m := b.simple(t, topicName(t))
	require.Equal(t, []int16{0, 0}, m.commit(8, tp, offset{0, 1, -1, ""}, offset{1, 2, -1, ""}))
	all, each := deleteOffsets(c, m.group, map[string][]int32{tp.name: {0, 2, 9}, none: {0}})
	require.Zero(t, all)
	require.Equal(t, codes{tp.name: {0: 0, 2: 0, 9: 3}, none: {0: 3}}, each, "2 had none, 9 is no partition")
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, -1, "", 0), fetched(1, 2, -1, "", 0)}, m.fetch(8, tp, 0, 1))
	all, each = deleteOffsets(c, m.group, nil)
	require.Zero(t, all)
	require.Empty(t, each)

	for group, code := range map[string]int16{topicName(t): 69, "": 24} {
		all, each = deleteOffsets(c, group, map[string][]int32{tp.name: {0}})
		require.Equal(t, code, all, "%q", group)
		require.Empty(t, each)
	}
}

// What a member reads is needed; what no member reads is not.
func TestOffsetDeleteOfASubscribedTopic(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp, other := createTopic(c, 1), createTopic(c, 1)
	m := b.member(t, topicName(t), "")
	m.protocols = protocols("range", tp.name)
	m.stable()
	try := func() codes {
		require.Equal(t, []int16{0}, m.commit(9, tp, offset{0, 1, -1, ""}))
		require.Equal(t, []int16{0}, m.commit(9, other, offset{0, 2, -1, ""}))
		all, each := deleteOffsets(c, m.group, map[string][]int32{tp.name: {0}, other.name: {0}})
		require.Zero(t, all)
		return each
	}
	require.Equal(t, codes{tp.name: {0: 86}, other.name: {0: 0}}, try())
	require.EqualValues(t, 1, m.fetch(9, tp, 0)[0].Offset)
	require.EqualValues(t, -1, m.fetch(9, other, 0)[0].Offset)
	require.Zero(t, m.leave(5).ErrorCode)
	m.id, m.generation = "", -1
	require.Equal(t, codes{tp.name: {0: 0}, other.name: {0: 0}}, try(), "nobody is left")
}

// Members whose metadata does not say what they read may read anything.
func TestOffsetDeleteOfAGroupThatCannotBeRead(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	m := b.member(t, topicName(t), "")
	m.protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte{0, 1}}}
	m.stable()
	all, each := deleteOffsets(c, m.group, map[string][]int32{tp.name: {0}})
	require.Zero(t, all)
	require.Equal(t, codes{tp.name: {0: 86}}, each)

	connect := b.member(t, topicName(t), "")
	req := connect.joinRequest(3)
	req.ProtocolType = "connect"
	require.Zero(t, connect.joined(do[*kmsg.JoinGroupResponse](connect.conn, req)).ErrorCode)
	require.Zero(t, connect.sync(3, map[string]string{connect.id: "x"}).ErrorCode)
	all, each = deleteOffsets(c, connect.group, map[string][]int32{tp.name: {0}})
	require.Equal(t, int16(68), all, "no consumers, and not empty")
	require.Empty(t, each)
	require.Zero(t, connect.leave(3).ErrorCode)
	all, _ = deleteOffsets(c, connect.group, map[string][]int32{tp.name: {0}})
	require.Zero(t, all)
}
