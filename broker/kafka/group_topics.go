package kafka

import (
	"github.com/keyframelog/keyframe/broker/group/consumer"
	"github.com/keyframelog/keyframe/broker/topics"
)

// GroupTopics are a registry's topics as consumer groups see them.
func GroupTopics(r *topics.Registry) consumer.Topics { return groupTopics{r} }

type groupTopics struct{ registry *topics.Registry }

func (g groupTopics) Version() uint64 { return g.registry.Version() }

func (g groupTopics) ByName(name string) (consumer.Topic, bool) {
	return groupTopic(g.registry.Get(name))
}

func (g groupTopics) ByID(id consumer.TopicID) (consumer.Topic, bool) {
	return groupTopic(g.registry.ByID(id))
}

func (g groupTopics) All() []consumer.Topic {
	list := g.registry.List()
	all := make([]consumer.Topic, len(list))
	for i, t := range list {
		all[i], _ = groupTopic(t, true)
	}
	return all
}

func groupTopic(t *topics.Topic, ok bool) (consumer.Topic, bool) {
	if !ok {
		return consumer.Topic{}, false
	}
	return consumer.Topic{ID: t.ID, Name: t.Name, Partitions: len(t.Partitions)}, true
}
