package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ConsumerConfig describes a plain consumer of records.
type ConsumerConfig struct {
	Brokers []string
	Topics  []string
	// Group, where set, shares the partitions with its other members and commits what Records has yielded.
	Group string
	// Options go to franz-go after ours (read_committed) and may override them: start offset, assigned partitions, ...
	Options []kgo.Opt
}

// Consumer reads records: on a key-framed topic below the delta start offset a record a row, above it the deltas. For the state
// itself use a Replica.
type Consumer struct {
	cl      *kgo.Client
	left    []*kgo.Record // fetched, and not yet dealt with
	yielded bool          // the first of them was
}

// NewConsumer connects lazily: an error is one of the configuration.
func NewConsumer(cfg ConsumerConfig) (*Consumer, error) {
	opts := []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted())}
	if len(cfg.Brokers) > 0 {
		opts = append(opts, kgo.SeedBrokers(cfg.Brokers...))
	}
	if len(cfg.Topics) > 0 {
		opts = append(opts, kgo.ConsumeTopics(cfg.Topics...))
	}
	if cfg.Group != "" {
		opts = append(opts, kgo.ConsumerGroup(cfg.Group), kgo.AutoCommitMarks(), kgo.BlockRebalanceOnPoll())
	}
	cl, err := kgo.NewClient(append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return &Consumer{cl: cl}, nil
}

// Client is the franz-go client beneath.
func (c *Consumer) Client() *kgo.Client { return c.cl }

// Close leaves the group, committing what was yielded.
func (c *Consumer) Close() { c.cl.CloseAllowingRebalance() }

// Records yields records as they come, until ctx ends, the consumer is closed, or the caller breaks the loop. A record counts as
// dealt with when the next one is asked for: only then may a group commit it. Errors of single partitions are yielded
// between records, and the loop may go on. Called again it goes on behind the last record that it yielded; until then, or Close, a group
// that has given out records waits for them before it shares its partitions anew, for as long as its rebalance timeout.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		for c.yieldLeft(ctx, yield) {
			c.cl.AllowRebalance()
			fetches := c.cl.PollFetches(ctx)
			c.left = fetches.Records()
			for _, e := range fetches.Errors() {
				if c.ended(ctx) {
					break // else it is of that
				}
				if !yield(nil, &PartitionError{Topic: e.Topic, Partition: e.Partition, Offset: -1, Err: e.Err}) {
					c.waitForNone()
					return
				}
			}
		}
	}
}

// yieldLeft yields what is left of what was fetched; false: the loop is over.
func (c *Consumer) yieldLeft(ctx context.Context, yield func(*kgo.Record, error) bool) bool {
	for {
		if c.yielded {
			c.cl.MarkCommitRecords(c.left[0])
			c.left, c.yielded = c.left[1:], false
		}
		switch {
		case c.ended(ctx):
			c.waitForNone()
			if c.cl.Context().Err() == nil {
				yield(nil, ctx.Err())
			}
			return false
		case len(c.left) == 0:
			return true
		}
		if c.yielded = true; !yield(c.left[0], nil) {
			return false
		}
	}
}

// ended tells whether nothing is to be yielded any more.
func (c *Consumer) ended(ctx context.Context) bool {
	return ctx.Err() != nil || c.cl.Context().Err() != nil
}

// waitForNone lets the group share its partitions anew where the loop ends and no records are left for the next.
func (c *Consumer) waitForNone() {
	if len(c.left) == 0 {
		c.cl.AllowRebalance()
	}
}
