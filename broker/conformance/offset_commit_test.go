package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offset is a partition's offset in a commit; its metadata "<null>" is null.
type offset struct {
	partition int32
	at        int64
	epoch     int32
	metadata  string
}

func (m *member) commitRequest(version int16, t topic, offsets ...offset) *kmsg.OffsetCommitRequest {
	rt := kmsg.OffsetCommitRequestTopic{Topic: t.name, TopicID: t.id}
	for _, o := range offsets {
		p := kmsg.OffsetCommitRequestTopicPartition{Partition: o.partition, Offset: o.at, LeaderEpoch: o.epoch, Metadata: &o.metadata}
		if o.metadata == "<null>" {
			p.Metadata = nil
		}
		rt.Partitions = append(rt.Partitions, p)
	}
	return &kmsg.OffsetCommitRequest{Version: version, Group: m.group, MemberID: m.id, InstanceID: m.instanceID(),
		Generation: m.generation, RetentionTimeMillis: -1, Topics: []kmsg.OffsetCommitRequestTopic{rt}}
}

// commit returns the codes of the partitions.
func (m *member) commit(version int16, t topic, offsets ...offset) (codes []int16) {
	m.t.Helper()
	r := do[*kmsg.OffsetCommitResponse](m.conn, m.commitRequest(version, t, offsets...))
	require.Len(m.t, r.Topics, 1)
	for _, p := range r.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// fetch returns the partitions' offsets in the group-wise form, whatever the version. No partitions: null topics.
func (m *member) fetch(version int16, t topic, partitions ...int32) []kmsg.OffsetFetchResponseGroupTopicPartition {
	m.t.Helper()
	req := &kmsg.OffsetFetchRequest{Version: version, Group: m.group, RequireStable: true}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.group
	if partitions != nil {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: t.name, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.name, TopicID: t.id, Partitions: partitions}}
	}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	r := do[*kmsg.OffsetFetchResponse](m.conn, req)
	require.Zero(m.t, r.ErrorCode)
	var all []kmsg.OffsetFetchResponseGroupTopicPartition
	if version < 8 {
		for _, rt := range r.Topics {
			require.Equal(m.t, t.name, rt.Topic)
			for _, p := range rt.Partitions {
				all = append(all, kmsg.OffsetFetchResponseGroupTopicPartition(p))
			}
		}
		return all
	}
	require.Len(m.t, r.Groups, 1)
	require.Equal(m.t, m.group, r.Groups[0].Group)
	require.Zero(m.t, r.Groups[0].ErrorCode)
	for _, rt := range r.Groups[0].Topics {
		if version >= 10 {
			require.Equal(m.t, t.id, rt.TopicID)
		} else {
			require.Equal(m.t, t.name, rt.Topic)
		}
		all = append(all, rt.Partitions...)
	}
	return all
}

func fetched(partition int32, at int64, epoch int32, metadata string, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{Partition: partition, Offset: at, LeaderEpoch: epoch, Metadata: &metadata, ErrorCode: code}
}

// simple is a client that commits without being a member.
func (b *broker) simple(t *testing.T, group string) *member {
	return &member{conn: b.dial(t), group: group, generation: -1}
}

func TestCommitAndFetchOfEveryVersion(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 3)
	for cv := int16(2); cv <= 10; cv++ {
		t.Run(fmt.Sprint(cv), func(t *testing.T) {
			m := b.simple(t, topicName(t))
			epoch := int32(0)
			if cv < 6 {
				epoch = -1
			}
			require.Equal(t, []int16{0, 0}, m.commit(cv, tp, offset{0, 5, 0, "here"}, offset{2, 7, -1, "<null>"}))
			for fv := int16(1); fv <= 10; fv++ {
				e := epoch
				if fv < 5 {
					e = -1 // kmsg's default
				}
				require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{
					fetched(0, 5, e, "here", 0), fetched(1, -1, -1, "", 0), fetched(2, 7, -1, "", 0), fetched(9, -1, -1, "", 0),
				}, m.fetch(fv, tp, 0, 1, 2, 9), "fetch v%d", fv)
				if fv >= 2 {
					require.ElementsMatch(t, []kmsg.OffsetFetchResponseGroupTopicPartition{
						fetched(0, 5, e, "here", 0), fetched(2, 7, -1, "", 0),
					}, m.fetch(fv, tp), "fetch all v%d", fv)
				}
			}
		})
	}
}

func TestCommitErrors(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	none := topic{name: topicName(t), id: [16]byte{1, 2, 3}}
	m := b.simple(t, topicName(t))
	for v := int16(2); v <= 10; v++ {
		// Partitions are independent.
		require.ElementsMatch(t, []int16{0, 3}, m.commit(v, tp, offset{0, 1, -1, ""}, offset{1, 1, -1, ""}), "v%d", v)
		unknown := int16(3)
		if v >= 10 {
			unknown = 100
		}
		require.Equal(t, []int16{unknown}, m.commit(v, none, offset{0, 1, -1, ""}), "v%d", v)
		require.Equal(t, []int16{12}, m.commit(v, tp, offset{0, 9, -1, strings.Repeat("x", 4097)}))
		require.Equal(t, []int16{0}, m.commit(v, tp, offset{0, 1, -1, strings.Repeat("x", 4096)}))

		stranger := b.simple(t, topicName(t))
		stranger.id, stranger.generation = "stranger", 1
		unknown = 22
		if v >= 9 {
			unknown = 69
		}
		require.Equal(t, []int16{unknown}, stranger.commit(v, tp, offset{0, 1, -1, ""}), "v%d", v)
	}

	// A group with members.
	in := b.member(t, topicName(t), "")
	in.stable()
	for v := int16(2); v <= 10; v++ {
		require.Equal(t, []int16{0}, in.commit(v, tp, offset{0, int64(v), -1, ""}))
		out := b.simple(t, in.group)
		require.Equal(t, []int16{25}, out.commit(v, tp, offset{0, 99, -1, ""}), "v%d", v)
		out.id, out.generation = "stranger", in.generation
		require.Equal(t, []int16{25}, out.commit(v, tp, offset{0, 99, -1, ""}), "v%d", v)
		out.id, out.generation = in.id, in.generation+1
		require.Equal(t, []int16{22}, out.commit(v, tp, offset{0, 99, -1, ""}), "v%d", v)
		out.generation = -1
		require.Equal(t, []int16{22}, out.commit(v, tp, offset{0, 99, -1, ""}), "v%d", v)
	}
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 10, -1, "", 0)}, in.fetch(9, tp, 0))
	// Between JoinGroup and SyncGroup.
	require.Zero(t, in.join(9).ErrorCode)
	require.Equal(t, []int16{27}, in.commit(9, tp, offset{0, 99, -1, ""}))
}

func TestOffsetFetchOfNothing(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 1)
	m := b.simple(t, topicName(t))
	for v := int16(1); v <= 10; v++ {
		require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, -1, "", 0)}, m.fetch(v, tp, 0), "v%d", v)
		if v < 10 {
			none := topic{name: topicName(t)}
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, -1, "", 0)}, m.fetch(v, none, 0), "v%d", v)
		}
		if v >= 2 {
			require.Empty(t, m.fetch(v, tp), "v%d", v)
		}
	}
	none := topic{id: [16]byte{1, 2, 3}}
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, -1, -1, "", 100)}, m.fetch(10, none, 0))
}

func TestOffsetFetchOfSeveralGroups(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 2)
	one, two := b.simple(t, topicName(t)), b.simple(t, topicName(t))
	one.commit(8, tp, offset{0, 1, -1, ""})
	two.commit(8, tp, offset{1, 2, -1, ""})
	for v := int16(8); v <= 10; v++ {
		req := &kmsg.OffsetFetchRequest{Version: v}
		for _, name := range []string{one.group, two.group, topicName(t)} {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = name
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: tp.name, TopicID: tp.id, Partitions: []int32{0, 1}}}
			req.Groups = append(req.Groups, g)
		}
		r := do[*kmsg.OffsetFetchResponse](one.conn, req)
		require.Len(t, r.Groups, 3)
		for i, want := range [][2]int64{{1, -1}, {-1, 2}, {-1, -1}} {
			require.Equal(t, req.Groups[i].Group, r.Groups[i].Group)
			require.Equal(t, want[0], r.Groups[i].Topics[0].Partitions[0].Offset)
			require.Equal(t, want[1], r.Groups[i].Topics[0].Partitions[1].Offset)
		}
	}
}

// A commit and a fetch behind it on the same connection, without waiting for the first answer.
func TestPipelinedCommitAndFetch(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 1)
	m := b.simple(t, topicName(t))
	fetch := &kmsg.OffsetFetchRequest{Version: 7, Group: m.group, Topics: []kmsg.OffsetFetchRequestTopic{{Topic: tp.name, Partitions: []int32{0}}}}
	for i := range int64(20) {
		commit := m.commitRequest(8, tp, offset{0, i, -1, ""})
		m.send(commit)
		m.send(fetch)
		m.receive(commit)
		r, _ := m.receive(fetch)
		require.Equal(t, i, r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset)
	}
}

// Offsets go with their topic, and do not come back with another one of the same name.
func TestDeletedTopicTakesItsOffsets(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp, kept := createTopic(c, 1), createTopic(c, 1)
	m := b.simple(t, topicName(t))
	require.Equal(t, []int16{0}, m.commit(8, tp, offset{0, 1, -1, ""}))
	require.Equal(t, []int16{0}, m.commit(8, kept, offset{0, 1, -1, ""}))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 10_000, []string{tp.name}
	require.Zero(t, do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode)
	eventually(t, func() bool { return m.fetch(9, tp, 0)[0].Offset == -1 })
	createNamed(c, tp.name, 1)
	require.EqualValues(t, -1, m.fetch(9, tp, 0)[0].Offset)
	require.EqualValues(t, 1, m.fetch(9, kept, 0)[0].Offset)
}
