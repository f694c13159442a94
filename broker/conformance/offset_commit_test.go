package conformance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestCommitAndFetchOfEveryVersion(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 3)
	for cv := int16(2); cv <= 10; cv++ {
		t.Run(fmt.Sprint(cv), func(t *testing.T) {
			m := b.Simple(t, raw.TopicName(t))
			epoch := int32(0)
			if cv < 6 {
				epoch = -1
			}
			require.Equal(t, []int16{0, 0}, m.Commit(cv, tp, raw.NewOffset(0, 5, 0, "here"), raw.NewOffset(2, 7, -1, "<null>")))
			for fv := int16(1); fv <= 10; fv++ {
				e := epoch
				if fv < 5 {
					e = -1 // kmsg's default
				}
				require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{
					raw.FetchedOffset(0, 5, e, "here", 0), raw.FetchedOffset(1, -1, -1, "", 0), raw.FetchedOffset(2, 7, -1, "", 0), raw.FetchedOffset(9, -1, -1, "", 0),
				}, m.Fetch(fv, tp, 0, 1, 2, 9), "fetch v%d", fv)
				if fv >= 2 {
					require.ElementsMatch(t, []kmsg.OffsetFetchResponseGroupTopicPartition{
						raw.FetchedOffset(0, 5, e, "here", 0), raw.FetchedOffset(2, 7, -1, "", 0),
					}, m.Fetch(fv, tp), "fetch all v%d", fv)
				}
			}
		})
	}
}

func TestCommitErrors(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	none := raw.Topic{Name: raw.TopicName(t), ID: [16]byte{1, 2, 3}}
	m := b.Simple(t, raw.TopicName(t))
	for v := int16(2); v <= 10; v++ {
		// Partitions are independent.
		require.ElementsMatch(t, []int16{0, 3}, m.Commit(v, tp, raw.NewOffset(0, 1, -1, ""), raw.NewOffset(1, 1, -1, "")), "v%d", v)
		unknown := int16(3)
		if v >= 10 {
			unknown = 100
		}
		require.Equal(t, []int16{unknown}, m.Commit(v, none, raw.NewOffset(0, 1, -1, "")), "v%d", v)
		require.Equal(t, []int16{12}, m.Commit(v, tp, raw.NewOffset(0, 9, -1, strings.Repeat("x", 4097))))
		require.Equal(t, []int16{0}, m.Commit(v, tp, raw.NewOffset(0, 1, -1, strings.Repeat("x", 4096))))

		stranger := b.Simple(t, raw.TopicName(t))
		stranger.ID, stranger.Generation = "stranger", 1
		unknown = 22
		if v >= 9 {
			unknown = 69
		}
		require.Equal(t, []int16{unknown}, stranger.Commit(v, tp, raw.NewOffset(0, 1, -1, "")), "v%d", v)
	}

	// A group with members.
	in := b.Member(t, raw.TopicName(t), "")
	in.Stable()
	for v := int16(2); v <= 10; v++ {
		require.Equal(t, []int16{0}, in.Commit(v, tp, raw.NewOffset(0, int64(v), -1, "")))
		out := b.Simple(t, in.Group)
		require.Equal(t, []int16{25}, out.Commit(v, tp, raw.NewOffset(0, 99, -1, "")), "v%d", v)
		out.ID, out.Generation = "stranger", in.Generation
		require.Equal(t, []int16{25}, out.Commit(v, tp, raw.NewOffset(0, 99, -1, "")), "v%d", v)
		out.ID, out.Generation = in.ID, in.Generation+1
		require.Equal(t, []int16{22}, out.Commit(v, tp, raw.NewOffset(0, 99, -1, "")), "v%d", v)
		out.Generation = -1
		require.Equal(t, []int16{22}, out.Commit(v, tp, raw.NewOffset(0, 99, -1, "")), "v%d", v)
	}
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 10, -1, "", 0)}, in.Fetch(9, tp, 0))
	// Between JoinGroup and SyncGroup.
	require.Zero(t, in.Join(9).ErrorCode)
	require.Equal(t, []int16{27}, in.Commit(9, tp, raw.NewOffset(0, 99, -1, "")))
}

func TestOffsetFetchOfNothing(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.Simple(t, raw.TopicName(t))
	for v := int16(1); v <= 10; v++ {
		require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, -1, -1, "", 0)}, m.Fetch(v, tp, 0), "v%d", v)
		if v < 10 {
			none := raw.Topic{Name: raw.TopicName(t)}
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, -1, -1, "", 0)}, m.Fetch(v, none, 0), "v%d", v)
		}
		if v >= 2 {
			require.Empty(t, m.Fetch(v, tp), "v%d", v)
		}
	}
	none := raw.Topic{ID: [16]byte{1, 2, 3}}
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, -1, -1, "", 100)}, m.Fetch(10, none, 0))
}

func TestOffsetFetchOfSeveralGroups(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	one, two := b.Simple(t, raw.TopicName(t)), b.Simple(t, raw.TopicName(t))
	one.Commit(8, tp, raw.NewOffset(0, 1, -1, ""))
	two.Commit(8, tp, raw.NewOffset(1, 2, -1, ""))
	for v := int16(8); v <= 10; v++ {
		req := &kmsg.OffsetFetchRequest{Version: v}
		for _, name := range []string{one.Group, two.Group, raw.TopicName(t)} {
			g := kmsg.NewOffsetFetchRequestGroup()
			g.Group = name
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: tp.Name, TopicID: tp.ID, Partitions: []int32{0, 1}}}
			req.Groups = append(req.Groups, g)
		}
		r := raw.Do[*kmsg.OffsetFetchResponse](one.Conn, req)
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
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.Simple(t, raw.TopicName(t))
	fetch := &kmsg.OffsetFetchRequest{Version: 7, Group: m.Group, Topics: []kmsg.OffsetFetchRequestTopic{{Topic: tp.Name, Partitions: []int32{0}}}}
	for i := range int64(20) {
		commit := m.CommitRequest(8, tp, raw.NewOffset(0, i, -1, ""))
		m.Send(commit)
		m.Send(fetch)
		m.Receive(commit)
		r, _ := m.Receive(fetch)
		require.Equal(t, i, r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions[0].Offset)
	}
}

// Offsets go with their topic, and do not come back with another one of the same name.
func TestDeletedTopicTakesItsOffsets(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp, kept := raw.CreateTopic(c, 1), raw.CreateTopic(c, 1)
	m := b.Simple(t, raw.TopicName(t))
	require.Equal(t, []int16{0}, m.Commit(8, tp, raw.NewOffset(0, 1, -1, "")))
	require.Equal(t, []int16{0}, m.Commit(8, kept, raw.NewOffset(0, 1, -1, "")))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 10_000, []string{tp.Name}
	require.Zero(t, raw.Do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode)
	raw.Eventually(t, func() bool { return m.Fetch(9, tp, 0)[0].Offset == -1 })
	raw.CreateNamed(c, tp.Name, 1)
	require.EqualValues(t, -1, m.Fetch(9, tp, 0)[0].Offset)
	require.EqualValues(t, 1, m.Fetch(9, kept, 0)[0].Offset)
}
