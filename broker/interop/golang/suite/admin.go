package suite

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// admin goes through what the client has; what it has not is noted.
func admin(ctx context.Context, r *run) error {
	a, err := r.Admin(r.addr, r.id())
	if err != nil {
		return err
	}
	defer a.Close()
	topic, group := r.name("t"), r.name("group")
	var without []string
	try := func(what string, f func() error) {
		switch e := f(); {
		case err != nil:
		case errors.Is(e, ErrUnsupported):
			without = append(without, what)
		case e != nil:
			err = fmt.Errorf("%s: %w", what, e)
		}
	}
	try("create topic", func() error { return r.topic(ctx, topic, 2, map[string]string{"retention.ms": "3600000"}) })
	try("describe configs", func() error { return configIs(ctx, a, topic, "retention.ms", "3600000") })
	try("alter configs", func() error {
		if err := a.SetTopicConfig(ctx, topic, "retention.ms", "7200000"); err != nil {
			return err
		}
		return configIs(ctx, a, topic, "retention.ms", "7200000")
	})
	try("a config value that is none", func() error {
		err := a.SetTopicConfig(ctx, topic, "cleanup.policy", "nonsense")
		if err == nil {
			return fmt.Errorf("was accepted")
		}
		if errors.Is(err, ErrUnsupported) {
			return err
		}
		return nil
	})
	try("create partitions", func() error {
		if err := a.SetPartitions(ctx, topic, 3); err != nil {
			return err
		}
		return until(ctx, "three partitions are told", func() (bool, error) {
			all, err := a.Topics(ctx)
			return all[topic] == 3, err
		})
	})
	try("use of the new partition", func() error { return r.send(ctx, ProducerConfig{}, numbered(topic, 60, 3, now())) })
	try("delete records", func() error {
		if err := a.DeleteRecords(ctx, topic, 1, 5); err != nil {
			return err
		}
		offset, err := a.OffsetFor(ctx, topic, 1, Earliest)
		if err == nil && offset != 5 {
			err = fmt.Errorf("earliest offset is %d, not 5", offset)
		}
		return err
	})
	try("use of a group", func() error {
		c, err := r.consumer(ConsumerConfig{Group: group, Topic: topic})
		if err != nil {
			return err
		}
		if _, err := take(ctx, c, 30); err != nil {
			return errors.Join(err, c.Close())
		}
		return errors.Join(c.Commit(ctx), c.Close())
	})
	try("list groups", func() error {
		all, err := a.Groups(ctx)
		if err == nil && !slices.Contains(all, group) {
			err = fmt.Errorf("the group is not listed")
		}
		return err
	})
	try("describe group", func() error {
		return until(ctx, "the group is Empty", func() (bool, error) {
			state, err := a.GroupState(ctx, group)
			return strings.EqualFold(state, "Empty"), err
		})
	})
	try("delete group", func() error {
		if err := a.DeleteGroup(ctx, group); err != nil {
			return err
		}
		all, err := a.Groups(ctx)
		if err == nil && slices.Contains(all, group) {
			err = fmt.Errorf("the group is still listed")
		}
		return err
	})
	try("delete topic", func() error {
		if err := a.DeleteTopic(ctx, topic); err != nil {
			return err
		}
		return until(ctx, "the topic is gone", func() (bool, error) {
			all, err := a.Topics(ctx)
			_, there := all[topic]
			return !there, err
		})
	})
	if len(without) > 0 {
		r.note("without %s: the client has no such call", strings.Join(without, ", "))
	}
	return err
}

func configIs(ctx context.Context, a Admin, topic, key, value string) error {
	err := until(ctx, key+" is "+value, func() (bool, error) {
		all, err := a.TopicConfigs(ctx, topic)
		if errors.Is(err, ErrUnsupported) {
			return true, nil
		}
		return all[key] == value, err
	})
	if _, e := a.TopicConfigs(ctx, topic); errors.Is(e, ErrUnsupported) {
		return e
	}
	return err
}
