package client

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/batchsize"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/batch"
)

// RowTooLargeError is why a state is not published: the topic admits no batch with one of its rows. Nothing was written.
type RowTooLargeError struct {
	Topic string
	Key   []byte // of the largest of them
	Rows  int    // that are too large
	Bytes int    // of a batch with the largest alone, as the producer compresses it, where the topic does not undo that
	Limit int    // max.message.bytes of the topic
}

func (e *RowTooLargeError) Error() string {
	return fmt.Sprintf("%s too large: that of key %.40q takes a batch of %d bytes, the topic admits %d (max.message.bytes)", counted(int64(e.Rows), "row"), e.Key, e.Bytes, e.Limit)
}

// batchSizes is how large batches may be.
type batchSizes struct {
	topic  int   // as the topic admits them, max.message.bytes; 0: that is not known
	client int32 // kgo.ProducerBatchMaxBytes: room for the largest row, not compressed
}

// sizes finds out how large batches may be, so that any row can be written that the topic takes, and none is refused for its neighbours. Error:
// *RowTooLargeError.
func (w *writing) sizes(ctx context.Context) (batchSizes, error) {
	own, _ := w.p.cl.OptValue(kgo.ProducerBatchMaxBytesFn).(func(string) int32)
	request, _ := w.p.cl.OptValue(kgo.BrokerMaxWriteBytes).(int32)
	configs, err := topicConfigs(ctx, kadm.NewClient(w.p.cl), w.p.topic)
	if err != nil {
		return batchSizes{client: own(w.p.topic)}, nil // what is too large is refused when it is written
	}
	limit, err := strconv.Atoi(configs["max.message.bytes"])
	if err != nil {
		return batchSizes{client: own(w.p.topic)}, nil
	}
	var compressor kgo.Compressor // nil: none
	if configs["compression.type"] != "uncompressed" {
		compressor, _ = w.p.cl.OptValue(kgo.WithCompressor).(kgo.Compressor)
	}
	largest, err := w.p.largest(w.writes, limit, compressor)
	return batchSizes{topic: limit, client: min(batchsize.Client(max(min(limit, batchsize.Useful), largest)), request)}, err
}

// apart tells whether the client may put more into a batch than the topic admits, unless it is kept from it.
func (s batchSizes) apart() bool { return s.topic > 0 && batchsize.Exceed(s.client, s.topic) }

// largest returns how large a batch is with the largest row alone, not compressed; 0: none is larger than limit. Error: *RowTooLargeError.
func (p *Producer) largest(writes []reconcile.Write, limit int, compressor kgo.Compressor) (largest int, err error) {
	b := batch.NewBuilder(batch.NewOptions())
	var refused *RowTooLargeError
	for _, x := range writes {
		r := p.written(x)
		if batchsize.AtMost(r) <= limit {
			continue
		}
		plain, packed, err := batchBytes(b, r, compressor)
		switch {
		case err != nil:
			return 0, err
		case packed <= limit:
			largest = max(largest, plain)
			continue
		case refused == nil:
			refused = &RowTooLargeError{Topic: p.topic, Limit: limit}
		}
		if refused.Rows++; packed > refused.Bytes {
			refused.Key, refused.Bytes = x.Key, packed
		}
	}
	if refused != nil {
		return 0, refused
	}
	return largest, nil
}

// batchBytes is how large a batch with a record alone is: plain, and as a compressor (nil: none) leaves it.
func batchBytes(b *batch.Builder, r *kgo.Record, compressor kgo.Compressor) (plain, packed int, err error) {
	b.Reset(batch.NewOptions())
	if err = b.Append(batch.Record{Key: r.Key, Value: r.Value, Headers: encodedHeaders(r)}); err != nil {
		return 0, 0, err
	}
	if plain = b.Size(); compressor == nil {
		return plain, plain, nil
	}
	encoded, err := b.Finish()
	if err != nil {
		return 0, 0, err
	}
	records, _ := compressor.Compress(new(bytes.Buffer), encoded[batch.HeaderSize:])
	return plain, min(plain, batch.HeaderSize+len(records)), nil
}
