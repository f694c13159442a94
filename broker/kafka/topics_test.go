package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestConfigsOfOurs(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
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
			topicNamed := raw.TopicName(t)
			c := c.In(t)
			a := raw.CreateTopics(c, 7, false, raw.NewTopic(topicNamed, 1, 1, test.configs...))[topicNamed]
			raw.RequireCode(t, 40, a.ErrorCode, a.ErrorMessage)
			require.Contains(t, *a.ErrorMessage, test.text)
		})
	}
	raw.CreateTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.1", "keyframe.interval.records", "1000")
}
