package kafka_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// While the disk is full no topic is created and no offset committed, with errors that clients try again after. Reading,
// joining a group and deleting go on.
func TestFullDiskRefusesTopicsAndCommits(t *testing.T) {
	var full atomic.Bool
	b, _ := startGroupsOwn(t, options{full: &full})
	c := b.dial(t)
	tp := createTopic(c, 1)
	m := b.simple(t, topicName(t))
	require.Equal(t, []int16{0}, m.commit(9, tp, offset{0, 5, -1, ""}))

	full.Store(true)
	name := topicName(t)
	a := create(c, 7, false, newTopic(name, 1, 1))[name]
	requireCode(t, 56, a.ErrorCode, a.ErrorMessage) // KAFKA_STORAGE_ERROR
	require.Contains(t, *a.ErrorMessage, "full")
	require.Equal(t, []int16{15}, m.commit(9, tp, offset{0, 6, -1, ""})) // COORDINATOR_NOT_AVAILABLE
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 5, -1, "", 0)}, m.fetch(9, tp, 0))
	b.member(t, topicName(t), "").stable()
	require.Zero(t, do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{m.group}}).Groups[0].ErrorCode)
	deletion := kmsg.NewPtrDeleteTopicsRequest()
	deletion.Version, deletion.TopicNames = 5, []string{tp.name}
	require.Zero(t, do[*kmsg.DeleteTopicsResponse](c, deletion).Topics[0].ErrorCode)

	full.Store(false)
	tp = createTopic(c, 1)
	require.Equal(t, []int16{0}, m.commit(9, tp, offset{0, 6, -1, ""}))
}
