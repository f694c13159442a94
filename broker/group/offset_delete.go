package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
)

// TopicPartition names a partition of a topic.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// Reads reports whether the group needs its offsets of a topic: a member reads it, or may, where what members read is not known.
func (g *Group) Reads(topic string) bool {
	if g.state == Empty {
		return false
	}
	_, ok := g.subscribed[topic]
	return ok || g.subscribed == nil
}

// DeleteOffsets removes committed offsets of partitions, and those that open transactions have for them. done is called once: during the call, with what is wrong with all of it
// (INVALID_GROUP_ID, GROUP_ID_NOT_FOUND, or NON_EMPTY_GROUP where the members are no consumers), or when what is left of it is durable,
// with an error for each partition: GROUP_SUBSCRIBED_TO_TOPIC where a member reads it. An offset that is not there is deleted.
func (c *Coordinator) DeleteOffsets(name string, partitions []TopicPartition, done func(all *kerr.Error, each []*kerr.Error)) {
	each := make([]*kerr.Error, len(partitions))
	c.mu.Lock()
	e := c.groupLocked(name)
	if err := c.offsetDeleteCheckLocked(name, e); err != nil {
		c.mu.Unlock()
		done(err, nil)
		return
	}
	gone := map[topicPartition]bool{}
	for i, p := range partitions {
		if e.group.Reads(p.Topic) {
			each[i] = kerr.GroupSubscribedToTopic
			continue
		}
		gone[topicPartition{p.Topic, p.Partition}] = true
	}
	if len(gone) == 0 {
		c.mu.Unlock()
		done(nil, each)
		return
	}
	c.enqueueLocked(e, write{drop: func(key topicPartition) bool { return gone[key] }, done: func(err error) {
		if err != nil {
			done(kerr.CoordinatorNotAvailable, nil)
			return
		}
		done(nil, each)
	}})
	c.mu.Unlock()
}

func (c *Coordinator) offsetDeleteCheckLocked(name string, e *entry) *kerr.Error {
	switch {
	case c.closed:
		return kerr.CoordinatorNotAvailable
	case name == "":
		return kerr.InvalidGroupID
	case e == nil:
		return kerr.GroupIDNotFound
	case !e.group.empty() && e.group.listing().ProtocolType != consumerType:
		return kerr.NonEmptyGroup
	}
	return nil
}
