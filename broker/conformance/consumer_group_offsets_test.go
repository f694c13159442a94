package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// as is a committing client in the name of a member.
func (m *consumer) as(b *broker, id string, epoch int32) *raw.Member {
	return &raw.Member{Conn: m.Conn, Group: m.group, ID: id, Generation: epoch}
}

func TestConsumerGroupCommits(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	m.join()
	until(t, func() bool { return len(m.owned) == 1 }, m)
	at := raw.NewOffset(0, 1, -1, "")
	require.Equal(t, []int16{0}, m.as(b, "m", m.epoch).Commit(9, tp, at))
	require.Equal(t, []int16{0}, m.as(b, "m", m.epoch).Commit(10, tp, at))
	require.Equal(t, []int16{35}, m.as(b, "m", m.epoch).Commit(8, tp, at), "clients of before do not know the error that may come")
	for _, epoch := range []int32{-1, 0, m.epoch - 1, m.epoch + 1} {
		require.Equal(t, []int16{113}, m.as(b, "m", epoch).Commit(9, tp, at), "epoch %d of %d", epoch, m.epoch)
	}
	require.Equal(t, []int16{25}, m.as(b, "stranger", m.epoch).Commit(9, tp, at))
	require.Equal(t, []int16{25}, m.as(b, "", -1).Commit(9, tp, at), "a client without a group, while there are members")

	m.leave()
	require.Equal(t, []int16{0}, m.as(b, "", -1).Commit(9, tp, raw.NewOffset(0, 2, -1, "admin")))
	require.Equal(t, []int16{25}, m.as(b, "m", m.epoch).Commit(9, tp, at))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 2, -1, "admin", 0)}, m.as(b, "", -1).Fetch(9, tp, 0))
}

// A commit that was sent before the member learned of its new epoch counts for the partitions that it had then and still has (KIP-1251).
func TestConsumerGroupCommitOfAnEarlierEpoch(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	one, two, before := b.pair(t, tp, raw.TopicName(t))
	require.Greater(t, one.epoch, before)
	for _, p := range one.of(tp) {
		require.Equal(t, []int16{0}, one.as(b, "one", before).Commit(9, tp, raw.NewOffset(p, 1, -1, "")), "it had it before")
	}
	for _, p := range two.of(tp) {
		require.Equal(t, []int16{113}, one.as(b, "one", before).Commit(9, tp, raw.NewOffset(p, 1, -1, "")), "it is another's now")
		require.Equal(t, []int16{113}, two.as(b, "two", before).Commit(9, tp, raw.NewOffset(p, 1, -1, "")), "it did not have it then")
		require.Equal(t, []int16{0}, two.as(b, "two", two.epoch).Commit(9, tp, raw.NewOffset(p, 1, -1, "")))
	}
}

func TestConsumerGroupFetchesOffsets(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	m.join()
	until(t, func() bool { return len(m.owned) == 1 }, m)
	require.Equal(t, []int16{0}, m.as(b, "m", m.epoch).Commit(9, tp, raw.NewOffset(0, 7, -1, "")))
	fetch := func(version int16, group string, id *string, epoch int32) kmsg.OffsetFetchResponseGroup {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group, g.MemberID, g.MemberEpoch = group, id, epoch
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: tp.Name, TopicID: tp.ID, Partitions: []int32{0}}}
		return raw.Do[*kmsg.OffsetFetchResponse](m.Conn, &kmsg.OffsetFetchRequest{Version: version, Groups: []kmsg.OffsetFetchRequestGroup{g}}).Groups[0]
	}
	for version := int16(9); version <= 10; version++ {
		for _, g := range []kmsg.OffsetFetchResponseGroup{fetch(version, m.group, nil, -1), fetch(version, m.group, &m.id, m.epoch)} {
			require.Zero(t, g.ErrorCode)
			require.EqualValues(t, 7, g.Topics[0].Partitions[0].Offset)
		}
		for _, epoch := range []int32{-1, m.epoch - 1, m.epoch + 1} {
			g := fetch(version, m.group, &m.id, epoch)
			require.EqualValues(t, 113, g.ErrorCode)
			require.Empty(t, g.Topics)
		}
		require.EqualValues(t, 25, fetch(version, m.group, ptr("stranger"), m.epoch).ErrorCode)
		g := fetch(version, raw.TopicName(t), &m.id, m.epoch)
		require.Zero(t, g.ErrorCode, "an unknown group has no offsets, and no members that it could ask about")
		require.EqualValues(t, -1, g.Topics[0].Partitions[0].Offset)
	}
}

// KIP-447 in a group of the new protocol: offsets in a transaction are fenced by the member's epoch, with the error that clients know.
func TestConsumerGroupTxnCommits(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	name := raw.TopicName(t)
	one, two, before := b.pair(t, tp, name)
	p := b.transactor(t, raw.TopicName(t)).init()
	require.Zero(t, p.tryAddOffsets(4, name))
	commit := func(id string, epoch int32, partition int32) int16 {
		req := p.commitRequest(4, name, tp, partition, 1)
		req.MemberID, req.Generation = id, epoch
		return p.commitAs(req)
	}
	require.Zero(t, commit("one", one.epoch, one.of(tp)[0]))
	require.Zero(t, commit("one", before, one.of(tp)[0]), "an earlier epoch, at which it had the partition")
	require.Equal(t, int16(22), commit("one", before, two.of(tp)[0]))
	require.Equal(t, int16(22), commit("one", one.epoch+1, one.of(tp)[0]))
	require.Equal(t, int16(25), commit("stranger", one.epoch, one.of(tp)[0]))
	require.Zero(t, commit("", -1, one.of(tp)[0]), "a client that names nobody")
	p.end(true)
	raw.Eventually(t, func() bool { return one.as(b, "", -1).Fetch(8, tp, one.of(tp)[0])[0].Offset == 1 })
}
