package client

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

const (
	batchBytesMin = 512                       // of franz-go
	batchBytesMax = fold.RowBytesMax + 64<<10 // a row alone, with what is around it
	batchAround   = batch.HeaderSize + 64     // what is around a key and a value at most, a header that names the op among it
	batchPrefix   = 4                         // in front of a batch, which franz-go counts with it
	batchConfig   = "max.message.bytes"       // in bytes of a batch
)

// RowTooLargeError is why a state is not published: the topic takes no record with one of its rows. Nothing was written.
type RowTooLargeError struct {
	Topic string
	Key   []byte
	Bytes int // of a batch with the record alone, not compressed
	Limit int // max.message.bytes of the topic
}

func (e *RowTooLargeError) Error() string {
	return fmt.Sprintf("topic %s, key %.40q: the row takes a batch of %d bytes, and the topic admits %d (%s)", e.Topic, e.Key, e.Bytes, e.Limit, batchConfig)
}

// batchBytes is how large batches for the topic may be: what it admits, so that any row can be written that it takes; no more, so that no batch is refused
// for the number of its rows. Where that is not told it is what the producer's Options say.
func (p *Producer) batchBytes(ctx context.Context) int {
	own, _ := p.cl.OptValue(kgo.ProducerBatchMaxBytes).(int32)
	configs, err := topicConfigs(ctx, kadm.NewClient(p.cl), p.topic)
	if err != nil {
		return int(own)
	}
	limit, err := strconv.Atoi(configs[batchConfig])
	if err != nil {
		return int(own)
	}
	return min(max(limit, batchBytesMin), batchBytesMax)
}

// checkSizes looks for a row that no batch of the limit can have. Error: *RowTooLargeError.
func (p *Producer) checkSizes(writes []reconcile.Write, limit int) error {
	b := batch.NewBuilder(batch.NewOptions())
	for _, w := range writes {
		if len(w.Key)+len(w.Value) <= limit-batchAround {
			continue
		}
		r := p.written(w)
		var headers batch.Headers
		for _, h := range r.Headers {
			headers = batch.AppendHeaders(nil, batch.Header{Key: h.Key, Value: h.Value})
		}
		b.Reset(batch.NewOptions())
		if err := b.Append(batch.Record{Key: r.Key, Value: r.Value, Headers: headers}); err != nil {
			return err
		}
		if b.Size() > limit {
			return &RowTooLargeError{Topic: p.topic, Key: w.Key, Bytes: b.Size(), Limit: limit}
		}
	}
	return nil
}

// written is the record that is written for what differs.
func (p *Producer) written(w reconcile.Write) *kgo.Record {
	op := delta.Delete
	if w.Value != nil {
		op = delta.Put
	}
	r := p.record(op, w.Key, w.Value)
	r.Partition = w.Partition
	return r
}
