package main

import (
	"context"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/batchsize"
)

// producing hands records to franz-go, in batches as large as the topic admits. A record for which they have no room may be small enough once it is
// compressed: it goes through a client with larger ones, alone.
type producing struct {
	*kgo.Client
	limit int // up to which a record does not go alone
	open  func(ctx context.Context, batchBytes int) (*kgo.Client, error)
	large *kgo.Client // nil until the first one
}

// connectProducing connects to produce to a topic with these configs.
func connectProducing(ctx context.Context, c *config, topic string, values map[string]string) (*producing, error) {
	p := &producing{limit: 1 << 20, open: func(ctx context.Context, batchBytes int) (*kgo.Client, error) {
		return kafkaClient(ctx, c, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(batchsize.Client(batchBytes)),
			kgo.RecordPartitioner(partitionOrKey{kgo.StickyKeyPartitioner(nil)}))
	}}
	if n, err := strconv.Atoi(values["max.message.bytes"]); err == nil {
		p.limit = min(n, batchsize.Useful)
	}
	var err error
	p.Client, err = p.open(ctx, p.limit)
	if batchsize.Exceed(batchsize.Client(p.limit), p.limit) {
		p.limit = 0
	}
	return p, err
}

func (p *producing) close() {
	p.Client.Close()
	if p.large != nil {
		p.large.Close()
	}
}

// produce hands over a record. A large one is waited for, after those before it.
func (p *producing) produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	if batchsize.AtMost(r) <= p.limit {
		p.Produce(ctx, r, promise)
		return
	}
	err := p.Flush(ctx)
	if err == nil && p.large == nil {
		p.large, err = p.open(ctx, maxLineBytes)
	}
	if err != nil {
		promise(r, err)
		return
	}
	p.large.Produce(ctx, r, promise)
	_ = p.large.Flush(ctx) // it fails only with the context, and then nobody waits for the promise
}

// partitionOrKey takes the record's own partition where it names one, else partitions by key as Kafka's clients do.
type partitionOrKey struct{ byKey kgo.Partitioner }

func (p partitionOrKey) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (p *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}
