package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// startGroups gives a test a broker with groups, whose first rebalance does not wait.
func startGroups(t *testing.T) *broker {
	t.Helper()
	b, _ := startGroupsOwn(t, options{})
	return b
}

func startGroupsOwn(t *testing.T, o options) (*broker, *group.Coordinator) {
	t.Helper()
	var c *group.Coordinator
	more := o.kafka
	o.kafka = func(cfg *kafka.Config) {
		settings := group.DefaultSettings()
		settings.InitialRebalanceDelay = 0
		var err error
		c, err = group.Open(group.Config{Settings: settings, Store: cfg.Producers.(*catalog.Catalog),
			Topics: kafka.GroupTopics(cfg.Registry), TopicExists: func(name string) bool { _, ok := cfg.Registry.Get(name); return ok }})
		require.NoError(t, err)
		cfg.Registry.AddHooks(topics.Hooks{Deleted: func(topic *topics.Topic) { c.DropTopic(topic.Name) }})
		cfg.Groups = c
		if more != nil {
			more(cfg)
		}
	}
	b := startOwn(t, o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return b, c
}
