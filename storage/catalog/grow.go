package catalog

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// Grow gives a topic more partitions, total in all; those that it has stay as they are. The partitions and the numbers that they take
// are one atomic write. Errors: ErrTopicNotFound, ErrInvalid where total is no more than there are, and the reserve's.
func (c *Catalog) Grow(name string, total int) (Topic, error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	t, ok := c.Get(name)
	if !ok {
		return Topic{}, fmt.Errorf("grow topic %q: %w", name, ErrTopicNotFound)
	}
	if total <= len(t.Partitions) || total > maxPartitions {
		return Topic{}, fmt.Errorf("grow topic %q: %w: from %d partitions to %d", name, ErrInvalid, len(t.Partitions), total)
	}
	more, next, err := c.newPartitions(total - len(t.Partitions))
	if err != nil {
		return Topic{}, fmt.Errorf("grow topic %q: %w", name, err)
	}
	t.Partitions = slices.Concat(t.Partitions, more)
	pb := c.db.NewBatch()
	defer pb.Close()
	must(pb.Set(keys.Broker(nameOrdinal), keys.AppendInt64(nil, next), nil))
	must(pb.Set(keys.Topic(name), encodeTopic(&t), nil))
	if err := c.admit(pb); err != nil {
		return Topic{}, fmt.Errorf("grow topic %q: %w", name, err)
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return Topic{}, fmt.Errorf("grow topic %q: %w", name, err)
	}
	c.put(&t)
	return t, nil
}
