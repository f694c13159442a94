package kafka_test

import (
	"testing"

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

func TestConfigsOfOurs(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	for name, test := range map[string]struct {
		configs []string
		text    string
	}{
		"misspelt":       {[]string{"cleanup.polcy", "compact"}, "did you mean cleanup.policy?"},
		"fold on delete": {[]string{"keyframe.fold", "counter"}, "needs cleanup.policy=compact"},
		"unknown fold":   {[]string{"cleanup.policy", "compact", "keyframe.fold", "sum"}, "sum"},
		"stale fetch":    {[]string{"keyframe.stale.fetch", "maybe"}, "kafka, error"},
		"tiered storage": {[]string{"remote.storage.enable", "true"}, "no tiered storage"},
		"retain nothing": {[]string{"keyframe.retain", "0"}, "at least 1"},
	} {
		t.Run(name, func(t *testing.T) {
			topicNamed := topicName(t)
			c := &conn{t: t, Conn: c.Conn, correlation: c.correlation + 1000}
			a := create(c, 7, false, newTopic(topicNamed, 1, 1, test.configs...))[topicNamed]
			requireCode(t, 40, a.ErrorCode, a.ErrorMessage)
			require.Contains(t, *a.ErrorMessage, test.text)
		})
	}
	createTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.1", "keyframe.interval.records", "1000")
}
