package raw

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Offset is a partition's offset in a commit; its metadata "<null>" is null.
type Offset struct {
	Partition int32
	At        int64
	Epoch     int32
	Metadata  string
}

// NewOffset is an Offset of its fields.
func NewOffset(partition int32, at int64, epoch int32, metadata string) Offset {
	return Offset{Partition: partition, At: at, Epoch: epoch, Metadata: metadata}
}

// CommitRequest is an OffsetCommit by the member.
func (m *Member) CommitRequest(version int16, t Topic, offsets ...Offset) *kmsg.OffsetCommitRequest {
	rt := kmsg.OffsetCommitRequestTopic{Topic: t.Name, TopicID: t.ID}
	for _, o := range offsets {
		p := kmsg.OffsetCommitRequestTopicPartition{Partition: o.Partition, Offset: o.At, LeaderEpoch: o.Epoch, Metadata: &o.Metadata}
		if o.Metadata == "<null>" {
			p.Metadata = nil
		}
		rt.Partitions = append(rt.Partitions, p)
	}
	return &kmsg.OffsetCommitRequest{Version: version, Group: m.Group, MemberID: m.ID, InstanceID: m.instanceID(),
		Generation: m.Generation, RetentionTimeMillis: -1, Topics: []kmsg.OffsetCommitRequestTopic{rt}}
}

// Commit returns the codes of the partitions.
func (m *Member) Commit(version int16, t Topic, offsets ...Offset) (codes []int16) {
	m.T.Helper()
	r := Do[*kmsg.OffsetCommitResponse](m.Conn, m.CommitRequest(version, t, offsets...))
	require.Len(m.T, r.Topics, 1)
	for _, p := range r.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// Fetch returns the partitions' offsets in the group-wise form, whatever the version. No partitions: null topics.
func (m *Member) Fetch(version int16, t Topic, partitions ...int32) []kmsg.OffsetFetchResponseGroupTopicPartition {
	m.T.Helper()
	req := &kmsg.OffsetFetchRequest{Version: version, Group: m.Group, RequireStable: true}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.Group
	if partitions != nil {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: t.Name, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.Name, TopicID: t.ID, Partitions: partitions}}
	}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	r := Do[*kmsg.OffsetFetchResponse](m.Conn, req)
	require.Zero(m.T, r.ErrorCode)
	var all []kmsg.OffsetFetchResponseGroupTopicPartition
	if version < 8 {
		for _, rt := range r.Topics {
			require.Equal(m.T, t.Name, rt.Topic)
			for _, p := range rt.Partitions {
				all = append(all, kmsg.OffsetFetchResponseGroupTopicPartition(p))
			}
		}
		return all
	}
	require.Len(m.T, r.Groups, 1)
	require.Equal(m.T, m.Group, r.Groups[0].Group)
	require.Zero(m.T, r.Groups[0].ErrorCode)
	for _, rt := range r.Groups[0].Topics {
		if version >= 10 {
			require.Equal(m.T, t.ID, rt.TopicID)
		} else {
			require.Equal(m.T, t.Name, rt.Topic)
		}
		all = append(all, rt.Partitions...)
	}
	return all
}

// FetchedOffset is a partition in the answer of Fetch.
func FetchedOffset(partition int32, at int64, epoch int32, metadata string, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{Partition: partition, Offset: at, LeaderEpoch: epoch, Metadata: &metadata, ErrorCode: code}
}
