package conformance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func create(c *conn, version int16, validateOnly bool, list ...kmsg.CreateTopicsRequestTopic) map[string]kmsg.CreateTopicsResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.ValidateOnly, req.TimeoutMillis, req.Topics = version, validateOnly, 10_000, list
	answers := map[string]kmsg.CreateTopicsResponseTopic{}
	for _, a := range do[*kmsg.CreateTopicsResponse](c, req).Topics {
		answers[a.Topic] = a
	}
	return answers
}

func newTopic(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, replicas
	for i := 0; i < len(configs); i += 2 {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	return rt
}

func TestCreateTopicsAllVersions(t *testing.T) {
	c := start(t).dial(t)
	for version := int16(2); version <= 7; version++ {
		name := topicName(t)
		a := create(c, version, false, newTopic(name, 3, 1, "retention.ms", "12345"))[name]
		requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		if version >= 5 {
			require.Equal(t, int32(3), a.NumPartitions)
			require.Equal(t, int16(1), a.ReplicationFactor)
			values := map[string]string{}
			for _, cfg := range a.Configs {
				values[cfg.Name] = *cfg.Value
				if cfg.Name == "retention.ms" {
					require.Equal(t, int8(1), cfg.Source)
				} else {
					require.NotEqual(t, int8(1), cfg.Source, cfg.Name)
				}
			}
			require.Equal(t, "12345", values["retention.ms"])
			require.Equal(t, "delete", values["cleanup.policy"])
		}
		if version >= 7 {
			require.NotZero(t, a.TopicID)
		}
	}
}

func TestCreateTopicsRefusals(t *testing.T) {
	c := start(t).dial(t)
	exists := createTopic(c, 1)
	collides := createNamed(c, "a.b_"+topicName(t), 1)
	assigned := newTopic(topicName(t), -1, -1)
	assigned.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}}
	both := newTopic(topicName(t), 2, -1)
	both.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}}
	foreign := newTopic(topicName(t), -1, -1)
	foreign.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{7}}}
	nothing := newTopic(topicName(t), 1, 1)
	nothing.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	for name, test := range map[string]struct {
		topic kmsg.CreateTopicsRequestTopic
		code  int16
	}{
		"empty name":         {newTopic("", 1, 1), 17},
		"dot":                {newTopic(".", 1, 1), 17},
		"dots":               {newTopic("..", 1, 1), 17},
		"characters":         {newTopic("a/b", 1, 1), 17},
		"too long":           {newTopic(strings.Repeat("x", 250), 1, 1), 17},
		"exists":             {newTopic(exists.name, 1, 1), 36},
		"collides":           {newTopic("a_b."+collides.name[4:], 1, 1), 17},
		"no partitions":      {newTopic(topicName(t), 0, 1), 37},
		"minus partitions":   {newTopic(topicName(t), -2, 1), 37},
		"no replicas":        {newTopic(topicName(t), 1, 0), 38},
		"minus replicas":     {newTopic(topicName(t), 1, -2), 38},
		"too many replicas":  {newTopic(topicName(t), 1, 3), 38},
		"unknown config":     {newTopic(topicName(t), 1, 1, "retention.msec", "1"), 40},
		"bad number":         {newTopic(topicName(t), 1, 1, "retention.ms", "soon"), 40},
		"out of range":       {newTopic(topicName(t), 1, 1, "retention.ms", "-2"), 40},
		"bad policy":         {newTopic(topicName(t), 1, 1, "cleanup.policy", "burn"), 40},
		"bad timestamp type": {newTopic(topicName(t), 1, 1, "message.timestamp.type", "Whenever"), 40},
		"null value":         {nothing, 40},
		"assignment gap":     {assigned, 39},
		"assigned and count": {both, 42},
		"foreign replica":    {foreign, 39},
	} {
		t.Run(name, func(t *testing.T) {
			c := &conn{t: t, Conn: c.Conn, correlation: c.correlation + 1000}
			for _, validateOnly := range []bool{true, false} {
				a := create(c, 7, validateOnly, test.topic)[test.topic.Topic]
				requireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
				require.NotEmpty(t, *a.ErrorMessage)
			}
		})
	}
}

func TestCreateTopicsOneFailsTheOthersDoNot(t *testing.T) {
	c := start(t).dial(t)
	good, bad, twice := topicName(t), "not valid", topicName(t)
	answers := create(c, 7, false, newTopic(good, 1, 1), newTopic(bad, 1, 1), newTopic(twice, 1, 1), newTopic(twice, 2, 1))
	require.Zero(t, answers[good].ErrorCode)
	require.Equal(t, int16(17), answers[bad].ErrorCode)
	require.Equal(t, int16(42), answers[twice].ErrorCode)
	require.Equal(t, int16(3), describe(c, twice).ErrorCode)
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	c := start(t).dial(t)
	name := topicName(t)
	a := create(c, 7, true, newTopic(name, 2, 1))[name]
	requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int16(3), describe(c, name).ErrorCode)
}

func TestCreateTopicsDefaultsAndAssignment(t *testing.T) {
	c := start(t).dial(t)
	name := topicName(t)
	a := create(c, 7, false, newTopic(name, -1, -1))[name]
	requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int32(1), a.NumPartitions)
	require.Equal(t, int16(1), a.ReplicationFactor)
	assigned := newTopic(topicName(t), -1, -1)
	for i := range int32(2) {
		assigned.ReplicaAssignment = append(assigned.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: i, Replicas: []int32{1}})
	}
	a = create(c, 7, false, assigned)[assigned.Topic]
	requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int32(2), a.NumPartitions)
}

func deleteTopics(c *conn, version int16, list ...topic) []kmsg.DeleteTopicsResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = version, 10_000
	for _, tp := range list {
		if version < 6 {
			req.TopicNames = append(req.TopicNames, tp.name)
			continue
		}
		rt := kmsg.DeleteTopicsRequestTopic{TopicID: tp.id}
		if tp.name != "" {
			rt.Topic = &tp.name
		}
		req.Topics = append(req.Topics, rt)
	}
	return do[*kmsg.DeleteTopicsResponse](c, req).Topics
}

func TestDeleteTopicsAllVersions(t *testing.T) {
	c := start(t).dial(t)
	for version := int16(1); version <= 6; version++ {
		tp := createTopic(c, 2)
		answers := deleteTopics(c, version, topic{name: tp.name})
		require.Len(t, answers, 1)
		require.Zero(t, answers[0].ErrorCode)
		require.Equal(t, tp.name, *answers[0].Topic)
		require.Eventually(t, func() bool { return describe(c, tp.name).ErrorCode == 3 }, 10*time.Second, time.Millisecond)
	}
}

func TestDeleteTopicsByID(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	answers := deleteTopics(c, 6, topic{id: tp.id})
	require.Zero(t, answers[0].ErrorCode)
	require.Equal(t, tp.name, *answers[0].Topic)
	require.Equal(t, int16(100), deleteTopics(c, 6, topic{id: [16]byte{5}})[0].ErrorCode)
	require.Eventually(t, func() bool { return describe(c, tp.name).ErrorCode == 3 }, 10*time.Second, time.Millisecond)
	require.Equal(t, int16(100), fetchAs(c, fetchFrom(tp, 0, 13)).ErrorCode)
	again := createNamed(c, tp.name, 1)
	require.NotEqual(t, tp.id, again.id, "another life, another id (KIP-516)")
	require.Equal(t, int64(0), listOffset(c, again, 0, -1).Offset)
}

func TestDeleteTopicsRefusals(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	other := topic{name: topicName(t)}
	for _, version := range []int16{1, 3, 5} {
		require.Equal(t, int16(3), deleteTopics(c, version, other)[0].ErrorCode)
		answers := deleteTopics(c, version, tp, tp, tp)
		require.Len(t, answers, 1, "a topic is answered once")
		require.Equal(t, int16(42), answers[0].ErrorCode)
	}
	require.Empty(t, deleteTopics(c, 6))
	name, id := topic{name: tp.name}, topic{id: tp.id}
	for what, test := range map[string]struct {
		topics []topic
		code   int16
	}{
		"name and id":            {[]topic{tp}, 42},
		"neither":                {[]topic{{}}, 42},
		"a name twice":           {[]topic{name, name}, 42},
		"an id twice":            {[]topic{id, id}, 42},
		"by name, and by id":     {[]topic{name, id}, 42},
		"by id, and by name":     {[]topic{id, name}, 42},
		"unknown name":           {[]topic{other}, 3},
		"no name":                {[]topic{{name: "a/b"}}, 3},
		"unknown id":             {[]topic{{id: [16]byte{5}}}, 100},
		"an unknown id, twice":   {[]topic{{id: [16]byte{5}}, {id: [16]byte{5}}}, 42},
		"an unknown name, twice": {[]topic{other, other}, 42},
	} {
		answers := deleteTopics(c, 6, test.topics...)
		require.Len(t, answers, 1, what)
		requireCode(t, test.code, answers[0].ErrorCode, answers[0].ErrorMessage)
		require.NotNil(t, answers[0].ErrorMessage, what)
	}
	require.Zero(t, describe(c, tp.name).ErrorCode)
}

// One that fails leaves the others alone.
func TestDeleteTopicsOneFailsTheOthersDoNot(t *testing.T) {
	c := start(t).dial(t)
	tp, twice := createTopic(c, 1), createTopic(c, 1)
	codes := map[string]int16{}
	for _, a := range deleteTopics(c, 6, topic{name: tp.name}, topic{name: twice.name}, topic{name: twice.name}, topic{name: "no.such"}) {
		codes[*a.Topic] = a.ErrorCode
	}
	require.Equal(t, map[string]int16{tp.name: 0, twice.name: 42, "no.such": 3}, codes)
	require.Eventually(t, func() bool { return describe(c, tp.name).ErrorCode == 3 }, 10*time.Second, time.Millisecond)
	require.Zero(t, describe(c, twice.name).ErrorCode)
}

// Of several things that are wrong the answer names the first in this order: name, existence, configs, replicas, partitions.
func TestCreateTopicsOrderOfChecks(t *testing.T) {
	c := start(t).dial(t)
	exists := createTopic(c, 1)
	for _, test := range []struct {
		topic kmsg.CreateTopicsRequestTopic
		code  int16
	}{
		{newTopic("a/b", 0, 0, "no.such", "1"), 17},
		{newTopic(exists.name, 0, 0, "no.such", "1"), 36},
		{newTopic(topicName(t), 0, 0, "no.such", "1"), 40},
		{newTopic(topicName(t), 0, 0), 38},
		{newTopic(topicName(t), 0, 5), 37},
		{newTopic("__cluster_metadata", 1, 1), 42},
	} {
		a := create(c, 7, true, test.topic)[test.topic.Topic]
		requireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
	}
}

func TestCreateTopicsTooManyPartitionsInOneRequest(t *testing.T) {
	c := start(t).dial(t)
	a, b := topicName(t), topicName(t)
	for _, answer := range create(c, 7, false, newTopic(a, 6000, 1), newTopic(b, 6000, 1)) {
		requireCode(t, 44, answer.ErrorCode, answer.ErrorMessage)
	}
	require.Equal(t, int16(3), describe(c, a).ErrorCode)
}
