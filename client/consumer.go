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
type Consumer struct{ cl *kgo.Client }

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
	return &Consumer{cl}, nil
}

// Client is the franz-go client beneath.
func (c *Consumer) Client() *kgo.Client { return c.cl }

// Close leaves the group, committing what was yielded.
func (c *Consumer) Close() { c.cl.CloseAllowingRebalance() }

// Records yields records as they come, until ctx ends, the consumer is closed, or the caller breaks the loop. A record counts as
// dealt with when the next one is asked for: only then may a group commit it. Errors of single partitions are yielded
// between records, and the loop may go on.
func (c *Consumer) Records(ctx context.Context) iter.Seq2[*kgo.Record, error] {
	return func(yield func(*kgo.Record, error) bool) {
		for {
			fetches := c.cl.PollFetches(ctx)
			if fetches.IsClientClosed() {
				return
			}
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			goOn := c.yieldAll(fetches, yield)
			c.cl.AllowRebalance()
			if !goOn {
				return
			}
		}
	}
}

func (c *Consumer) yieldAll(fetches kgo.Fetches, yield func(*kgo.Record, error) bool) bool {
	for _, e := range fetches.Errors() {
		if !yield(nil, &PartitionError{Topic: e.Topic, Partition: e.Partition, Offset: -1, Err: e.Err}) {
			return false
		}
	}
	for r := range fetches.RecordsAll() {
		if !yield(r, nil) {
			return false
		}
		c.cl.MarkCommitRecords(r)
	}
	return true
}
