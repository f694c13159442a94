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
	require.Equal(t, []int16{56}, m.Commit(9, tp, raw.NewOffset(0, 6, -1, ""))) // most clients try others again without a word
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

// While the disk is full nobody fills it with configs of groups and of subscriptions to metrics, whose names are anybody's. What an
// administrator may do to make room, and what frees some, goes on.
func TestFullDiskRefusesConfigsOfAnyName(t *testing.T) {
	const group, metrics, brokers, set, remove = 32, 16, 4, 0, 1
	var full atomic.Bool
	c := startOwn(t, options{full: &full}).Dial(t)
	alter := func(kind int8, name string, op kmsg.IncrementalAlterConfigOp, config, value string) kmsg.IncrementalAlterConfigsResponseResource {
		t.Helper()
		change := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: config, Op: op, Value: &value}
		resp := raw.Do[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceType(kind), ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{change}}}})
		return resp.Resources[0]
	}
	accept := func(r kmsg.IncrementalAlterConfigsResponseResource) {
		t.Helper()
		raw.RequireCode(t, 0, r.ErrorCode, r.ErrorMessage)
	}
	refuse := func(r kmsg.IncrementalAlterConfigsResponseResource) {
		t.Helper()
		raw.RequireCode(t, 56, r.ErrorCode, r.ErrorMessage) // KAFKA_STORAGE_ERROR
		require.Contains(t, *r.ErrorMessage, "full")
	}
	tp := raw.CreateTopic(c, 1)
	accept(alter(group, "g", set, "consumer.session.timeout.ms", "46000"))
	accept(alter(metrics, "m", set, "interval.ms", "1000"))

	full.Store(true)
	refuse(alter(group, "h", set, "consumer.session.timeout.ms", "46000"))
	refuse(alter(group, "g", set, "consumer.session.timeout.ms", "47000"))
	refuse(alter(metrics, "n", set, "interval.ms", "1000"))
	accept(alter(group, "g", set, "consumer.session.timeout.ms", "46000")) // as it is
	accept(alter(group, "g", remove, "consumer.session.timeout.ms", ""))
	accept(alter(metrics, "m", remove, "interval.ms", ""))
	accept(alter(brokers, "", set, "log.retention.ms", "60000"))
	accept(alter(2, tp.Name, set, "retention.ms", "60000"))

	full.Store(false)
	accept(alter(group, "g", set, "consumer.session.timeout.ms", "47000"))
}
