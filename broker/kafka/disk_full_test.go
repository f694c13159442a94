package kafka_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// While the disk is full no topic is created and no offset committed, with errors that clients try again after. Reading,
// joining a group and deleting go on.
func TestFullDiskRefusesTopicsAndCommits(t *testing.T) {
	var full atomic.Bool
	b, _ := startGroupsOwn(t, options{full: &full})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	m := b.Simple(t, raw.TopicName(t))
	require.Equal(t, []int16{0}, m.Commit(9, tp, raw.NewOffset(0, 5, -1, "")))

	full.Store(true)
	name := raw.TopicName(t)
	a := raw.CreateTopics(c, 7, false, raw.NewTopic(name, 1, 1))[name]
	raw.RequireCode(t, 56, a.ErrorCode, a.ErrorMessage) // KAFKA_STORAGE_ERROR
	require.Contains(t, *a.ErrorMessage, "full")
	require.Equal(t, []int16{15}, m.Commit(9, tp, raw.NewOffset(0, 6, -1, ""))) // COORDINATOR_NOT_AVAILABLE
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 5, -1, "", 0)}, m.Fetch(9, tp, 0))
	b.Member(t, raw.TopicName(t), "").Stable()
	require.Zero(t, raw.Do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{m.Group}}).Groups[0].ErrorCode)
	deletion := kmsg.NewPtrDeleteTopicsRequest()
	deletion.Version, deletion.TopicNames = 5, []string{tp.Name}
	require.Zero(t, raw.Do[*kmsg.DeleteTopicsResponse](c, deletion).Topics[0].ErrorCode)

	full.Store(false)
	tp = raw.CreateTopic(c, 1)
	require.Equal(t, []int16{0}, m.Commit(9, tp, raw.NewOffset(0, 6, -1, "")))
}
