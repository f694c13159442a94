package conformance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestCreateTopicsAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(2); version <= 7; version++ {
		name := raw.TopicName(t)
		a := raw.CreateTopics(c, version, false, raw.NewTopic(name, 3, 1, "retention.ms", "12345"))[name]
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
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
	c := start(t).Dial(t)
	exists := raw.CreateTopic(c, 1)
	collides := raw.CreateNamed(c, "a.b_"+raw.TopicName(t), 1)
	assigned := raw.NewTopic(raw.TopicName(t), -1, -1)
	assigned.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 1, Replicas: []int32{1}}}
	both := raw.NewTopic(raw.TopicName(t), 2, -1)
	both.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{1}}}
	foreign := raw.NewTopic(raw.TopicName(t), -1, -1)
	foreign.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{7}}}
	nothing := raw.NewTopic(raw.TopicName(t), 1, 1)
	nothing.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	for name, test := range map[string]struct {
		topic kmsg.CreateTopicsRequestTopic
		code  int16
	}{
		"empty name":         {raw.NewTopic("", 1, 1), 17},
		"dot":                {raw.NewTopic(".", 1, 1), 17},
		"dots":               {raw.NewTopic("..", 1, 1), 17},
		"characters":         {raw.NewTopic("a/b", 1, 1), 17},
		"too long":           {raw.NewTopic(strings.Repeat("x", 250), 1, 1), 17},
		"exists":             {raw.NewTopic(exists.Name, 1, 1), 36},
		"collides":           {raw.NewTopic("a_b."+collides.Name[4:], 1, 1), 17},
		"no partitions":      {raw.NewTopic(raw.TopicName(t), 0, 1), 37},
		"minus partitions":   {raw.NewTopic(raw.TopicName(t), -2, 1), 37},
		"no replicas":        {raw.NewTopic(raw.TopicName(t), 1, 0), 38},
		"minus replicas":     {raw.NewTopic(raw.TopicName(t), 1, -2), 38},
		"too many replicas":  {raw.NewTopic(raw.TopicName(t), 1, 3), 38},
		"unknown config":     {raw.NewTopic(raw.TopicName(t), 1, 1, "retention.msec", "1"), 40},
		"bad number":         {raw.NewTopic(raw.TopicName(t), 1, 1, "retention.ms", "soon"), 40},
		"out of range":       {raw.NewTopic(raw.TopicName(t), 1, 1, "retention.ms", "-2"), 40},
		"bad policy":         {raw.NewTopic(raw.TopicName(t), 1, 1, "cleanup.policy", "burn"), 40},
		"bad timestamp type": {raw.NewTopic(raw.TopicName(t), 1, 1, "message.timestamp.type", "Whenever"), 40},
		"null value":         {nothing, 40},
		"assignment gap":     {assigned, 39},
		"assigned and count": {both, 42},
		"foreign replica":    {foreign, 39},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.In(t)
			for _, validateOnly := range []bool{true, false} {
				a := raw.CreateTopics(c, 7, validateOnly, test.topic)[test.topic.Topic]
				raw.RequireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
				require.NotEmpty(t, *a.ErrorMessage)
			}
		})
	}
}

func TestCreateTopicsOneFailsTheOthersDoNot(t *testing.T) {
	c := start(t).Dial(t)
	good, bad, twice := raw.TopicName(t), "not valid", raw.TopicName(t)
	answers := raw.CreateTopics(c, 7, false, raw.NewTopic(good, 1, 1), raw.NewTopic(bad, 1, 1), raw.NewTopic(twice, 1, 1), raw.NewTopic(twice, 2, 1))
	require.Zero(t, answers[good].ErrorCode)
	require.Equal(t, int16(17), answers[bad].ErrorCode)
	require.Equal(t, int16(42), answers[twice].ErrorCode)
	require.Equal(t, int16(3), raw.DescribeTopic(c, twice).ErrorCode)
}

func TestCreateTopicsValidateOnly(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	a := raw.CreateTopics(c, 7, true, raw.NewTopic(name, 2, 1))[name]
	raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int16(3), raw.DescribeTopic(c, name).ErrorCode)
}

func TestCreateTopicsDefaultsAndAssignment(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	a := raw.CreateTopics(c, 7, false, raw.NewTopic(name, -1, -1))[name]
	raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int32(1), a.NumPartitions)
	require.Equal(t, int16(1), a.ReplicationFactor)
	assigned := raw.NewTopic(raw.TopicName(t), -1, -1)
	for i := range int32(2) {
		assigned.ReplicaAssignment = append(assigned.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: i, Replicas: []int32{1}})
	}
	a = raw.CreateTopics(c, 7, false, assigned)[assigned.Topic]
	raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	require.Equal(t, int32(2), a.NumPartitions)
}

func deleteTopics(c *raw.Conn, version int16, list ...raw.Topic) []kmsg.DeleteTopicsResponseTopic {
	c.T.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = version, 10_000
	for _, tp := range list {
		if version < 6 {
			req.TopicNames = append(req.TopicNames, tp.Name)
			continue
		}
		rt := kmsg.DeleteTopicsRequestTopic{TopicID: tp.ID}
		if tp.Name != "" {
			rt.Topic = &tp.Name
		}
		req.Topics = append(req.Topics, rt)
	}
	return raw.Do[*kmsg.DeleteTopicsResponse](c, req).Topics
}

func TestDeleteTopicsAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(1); version <= 6; version++ {
		tp := raw.CreateTopic(c, 2)
		answers := deleteTopics(c, version, raw.Topic{Name: tp.Name})
		require.Len(t, answers, 1)
		require.Zero(t, answers[0].ErrorCode)
		require.Equal(t, tp.Name, *answers[0].Topic)
		require.Eventually(t, func() bool { return raw.DescribeTopic(c, tp.Name).ErrorCode == 3 }, time.Minute, time.Millisecond)
	}
}

func TestDeleteTopicsByID(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	answers := deleteTopics(c, 6, raw.Topic{ID: tp.ID})
	require.Zero(t, answers[0].ErrorCode)
	require.Equal(t, tp.Name, *answers[0].Topic)
	require.Equal(t, int16(100), deleteTopics(c, 6, raw.Topic{ID: [16]byte{5}})[0].ErrorCode)
	require.Eventually(t, func() bool { return raw.DescribeTopic(c, tp.Name).ErrorCode == 3 }, time.Minute, time.Millisecond)
	require.Equal(t, int16(100), raw.FetchAs(c, raw.FetchFrom(tp, 0, 13)).ErrorCode)
	again := raw.CreateNamed(c, tp.Name, 1)
	require.NotEqual(t, tp.ID, again.ID, "another life, another id (KIP-516)")
	require.Equal(t, int64(0), raw.ListOffset(c, again, 0, -1).Offset)
}

func TestDeleteTopicsRefusals(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	other := raw.Topic{Name: raw.TopicName(t)}
	for _, version := range []int16{1, 3, 5} {
		require.Equal(t, int16(3), deleteTopics(c, version, other)[0].ErrorCode)
		answers := deleteTopics(c, version, tp, tp, tp)
		require.Len(t, answers, 1, "a topic is answered once")
		require.Equal(t, int16(42), answers[0].ErrorCode)
	}
	require.Empty(t, deleteTopics(c, 6))
	name, id := raw.Topic{Name: tp.Name}, raw.Topic{ID: tp.ID}
	for what, test := range map[string]struct {
		topics []raw.Topic
		code   int16
	}{
		"name and id":            {[]raw.Topic{tp}, 42},
		"neither":                {[]raw.Topic{{}}, 42},
		"a name twice":           {[]raw.Topic{name, name}, 42},
		"an id twice":            {[]raw.Topic{id, id}, 42},
		"by name, and by id":     {[]raw.Topic{name, id}, 42},
		"by id, and by name":     {[]raw.Topic{id, name}, 42},
		"unknown name":           {[]raw.Topic{other}, 3},
		"no name":                {[]raw.Topic{{Name: "a/b"}}, 3},
		"unknown id":             {[]raw.Topic{{ID: [16]byte{5}}}, 100},
		"an unknown id, twice":   {[]raw.Topic{{ID: [16]byte{5}}, {ID: [16]byte{5}}}, 42},
		"an unknown name, twice": {[]raw.Topic{other, other}, 42},
	} {
		answers := deleteTopics(c, 6, test.topics...)
		require.Len(t, answers, 1, what)
		raw.RequireCode(t, test.code, answers[0].ErrorCode, answers[0].ErrorMessage)
		require.NotNil(t, answers[0].ErrorMessage, what)
	}
	require.Zero(t, raw.DescribeTopic(c, tp.Name).ErrorCode)
}

// One that fails leaves the others alone.
func TestDeleteTopicsOneFailsTheOthersDoNot(t *testing.T) {
	c := start(t).Dial(t)
	tp, twice := raw.CreateTopic(c, 1), raw.CreateTopic(c, 1)
	codes := map[string]int16{}
	for _, a := range deleteTopics(c, 6, raw.Topic{Name: tp.Name}, raw.Topic{Name: twice.Name}, raw.Topic{Name: twice.Name}, raw.Topic{Name: "no.such"}) {
		codes[*a.Topic] = a.ErrorCode
	}
	require.Equal(t, map[string]int16{tp.Name: 0, twice.Name: 42, "no.such": 3}, codes)
	require.Eventually(t, func() bool { return raw.DescribeTopic(c, tp.Name).ErrorCode == 3 }, time.Minute, time.Millisecond)
	require.Zero(t, raw.DescribeTopic(c, twice.Name).ErrorCode)
}

// Of several things that are wrong the answer names the first in this order: name, existence, configs, replicas, partitions.
func TestCreateTopicsOrderOfChecks(t *testing.T) {
	c := start(t).Dial(t)
	exists := raw.CreateTopic(c, 1)
	for _, test := range []struct {
		topic kmsg.CreateTopicsRequestTopic
		code  int16
	}{
		{raw.NewTopic("a/b", 0, 0, "no.such", "1"), 17},
		{raw.NewTopic(exists.Name, 0, 0, "no.such", "1"), 36},
		{raw.NewTopic(raw.TopicName(t), 0, 0, "no.such", "1"), 40},
		{raw.NewTopic(raw.TopicName(t), 0, 0), 38},
		{raw.NewTopic(raw.TopicName(t), 0, 5), 37},
		{raw.NewTopic("__cluster_metadata", 1, 1), 42},
	} {
		a := raw.CreateTopics(c, 7, true, test.topic)[test.topic.Topic]
		raw.RequireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
	}
}

func TestCreateTopicsTooManyPartitionsInOneRequest(t *testing.T) {
	c := start(t).Dial(t)
	a, b := raw.TopicName(t), raw.TopicName(t)
	for _, answer := range raw.CreateTopics(c, 7, false, raw.NewTopic(a, 6000, 1), raw.NewTopic(b, 6000, 1)) {
		raw.RequireCode(t, 44, answer.ErrorCode, answer.ErrorMessage)
	}
	require.Equal(t, int16(3), raw.DescribeTopic(c, a).ErrorCode)
}
