package target

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Flush is what a topic is asked for as to durability, by its flush.messages.
type Flush string

const (
	FlushDefault Flush = ""       // what the broker does by itself
	FlushEach    Flush = "each"   // flush.messages=1: fsync before each acknowledgement
	FlushSystem  Flush = "system" // flush.messages at its largest: acknowledged once written, the system writes to disk when it likes
)

// Flushes are all of them.
func Flushes() []Flush { return []Flush{FlushDefault, FlushEach, FlushSystem} }

// Topic is one that a workload makes for itself, and drops. A workload's Config embeds it.
type Topic struct {
	Name       string            `json:"topic"`
	Partitions int32             `json:"partitions"`
	Flush      Flush             `json:"flush"`
	Configs    map[string]string `json:"configs,omitempty"` // beside flush.messages
}

// Validate refuses what cannot be made.
func (t Topic) Validate() error {
	switch {
	case t.Name == "":
		return errors.New("the topic has no name")
	case t.Partitions <= 0:
		return errors.New("partitions are above zero")
	case !slices.Contains(Flushes(), t.Flush):
		return fmt.Errorf("flush %q: each or system", t.Flush)
	}
	return nil
}

// Compacted is the same topic with the last value of each key kept, whatever else its configs say.
func (t Topic) Compacted() Topic {
	configs := map[string]string{"cleanup.policy": "compact"}
	maps.Copy(configs, t.Configs)
	t.Configs = configs
	return t
}

// Created is a topic that is there.
type Created struct {
	Topic
	Durability string // what an acknowledgement means, from what the broker says of the topic
	t          *Target
}

// Create makes a topic. Errors: what the broker answers; one of that name is there already.
func (t *Target) Create(ctx context.Context, topic Topic) (*Created, error) {
	if err := topic.Validate(); err != nil {
		return nil, err
	}
	configs := map[string]*string{}
	for name, value := range topic.Configs {
		configs[name] = &value
	}
	switch each, system := "1", strconv.FormatInt(math.MaxInt64, 10); topic.Flush {
	case FlushEach:
		configs["flush.messages"] = &each
	case FlushSystem:
		configs["flush.messages"] = &system
	}
	answer, err := t.admin.CreateTopic(ctx, topic.Partitions, 1, configs, topic.Name)
	if err := errors.Join(err, answer.Err); err != nil {
		return nil, fmt.Errorf("topic %s: %w: %s", topic.Name, err, answer.ErrMessage)
	}
	c := &Created{Topic: topic, t: t}
	if c.Durability, err = t.known(ctx, topic.Name); err != nil {
		return nil, errors.Join(err, c.Drop(ctx))
	}
	return c, nil
}

// knownEvery is how often it is asked whether a broker knows a topic that its controller has made.
const knownEvery = 5 * time.Millisecond

// known is Durability of a topic that was made just now: a broker of Kafka's hears of it a moment after the answer to who made it.
func (t *Target) known(ctx context.Context, topic string) (durability string, err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	for {
		durability, err = t.Durability(ctx, topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			return durability, err
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(knownEvery):
		}
	}
}

// Drop deletes the topic, also where the run was interrupted.
func (c *Created) Drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), openTimeout)
	defer cancel()
	answer, err := c.t.admin.DeleteTopic(ctx, c.Name)
	return errors.Join(err, answer.Err)
}

// Alter sets configs of the topic.
func (c *Created) Alter(ctx context.Context, configs map[string]string) error {
	var changes []kadm.AlterConfig
	for name, value := range maps.All(configs) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	answers, err := c.t.admin.AlterTopicConfigs(ctx, changes, c.Name)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	return err
}

// Durability tells in words what the broker's flush.messages and flush.ms of a topic mean.
func (t *Target) Durability(ctx context.Context, topic string) (string, error) {
	described, err := t.admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	config, err := described.On(topic, nil)
	if err := errors.Join(err, config.Err); err != nil {
		return "", fmt.Errorf("configs of %s: %w", topic, err)
	}
	messages, ms := int64(math.MaxInt64), int64(math.MaxInt64)
	for _, c := range config.Configs {
		n, err := strconv.ParseInt(c.MaybeValue(), 10, 64)
		switch {
		case err != nil:
		case c.Key == "flush.messages":
			messages = n
		case c.Key == "flush.ms":
			ms = n
		}
	}
	switch {
	case messages <= 1:
		return "fsync before the acknowledgement", nil
	case messages == math.MaxInt64 && ms == math.MaxInt64:
		return "page cache: acknowledged once written, fsync is left to the system", nil
	}
	return fmt.Sprintf("acknowledged once written, fsync after %s records or %s ms", told(messages), told(ms)), nil
}

func told(n int64) string {
	if n == math.MaxInt64 {
		return "any number of"
	}
	return strconv.FormatInt(n, 10)
}

// Ends are the log end offsets of the topic's partitions.
func (c *Created) Ends(ctx context.Context) (map[int32]int64, error) {
	listed, err := c.t.admin.ListEndOffsets(ctx, c.Name)
	if err := errors.Join(err, listed.Error()); err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, nil
}
