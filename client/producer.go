package client

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

// ProducerConfig describes a producer for one key-framed topic.
type ProducerConfig struct {
	Brokers []string
	Topic   string
	// Fold of the topic; 0 reads `keyframe.fold` from the topic's configs.
	Fold fold.Kind
	// StateURL is the state plane, such as http://127.0.0.1:9094, for calls that compare with the log; the others do without it.
	StateURL   string
	HTTPClient *http.Client
	// KeepState has the producer keep, in memory, the state that it has said: it begins as the log's, and everything that is handed to Produce and
	// ProduceSync is folded into it at once, whatever becomes of the record. Assert compares it with the log. For topics with one writer.
	KeepState bool
	// Partitioner says in which partition a key's rows are. Default: by the key's hash, as Kafka's own clients do. With KeepState it must be here, not
	// among the Options, and its choice the key's (or the record's, kgo.ManualPartitioner); the number of partitions it chooses from stays that at
	// the beginning.
	Partitioner kgo.Partitioner
	// Options go to franz-go after ours (acks all, idempotent) and may override them.
	Options []kgo.Opt
}

// Producer writes deltas. It checks each one as the broker will, before it is put into a batch, because
// the broker refuses a batch as a whole; and it sets the op header where the op is not the fold's default.
type Producer struct {
	cl    *kgo.Client
	topic string
	kind  fold.Kind
	plane *plane.Plane // nil without a state plane
	kept  *keptState   // nil without KeepState
}

// NewProducer connects, and learns the topic's fold if it is not given; with KeepState it cuts a key frame of every partition and loads them. ctx
// bounds that.
func NewProducer(ctx context.Context, cfg ProducerConfig) (*Producer, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	by := &keyedPartitioner{inner: cfg.Partitioner}
	opts := []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks()), kgo.DefaultProduceTopic(cfg.Topic)}
	if len(cfg.Brokers) > 0 {
		opts = append(opts, kgo.SeedBrokers(cfg.Brokers...))
	}
	switch {
	case cfg.KeepState:
		if by.inner == nil {
			by.inner = kgo.StickyKeyPartitioner(nil)
		}
		opts = append(opts, kgo.RecordPartitioner(by))
	case cfg.Partitioner != nil:
		opts = append(opts, kgo.RecordPartitioner(cfg.Partitioner))
	}
	cl, err := kgo.NewClient(append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	p := &Producer{cl: cl, topic: cfg.Topic, kind: cfg.Fold}
	if cfg.StateURL != "" {
		p.plane = plane.New(cmp.Or(cfg.HTTPClient, http.DefaultClient), cfg.StateURL, cfg.Topic)
	}
	if p.kind == 0 {
		if p.kind, err = topicFold(ctx, kadm.NewClient(cl), cfg.Topic); err != nil {
			cl.Close()
			return nil, err
		}
	}
	if cfg.KeepState {
		if p.kept, err = p.keepState(ctx, by); err != nil {
			cl.Close()
			return nil, err
		}
	}
	return p, nil
}

func (c *ProducerConfig) validate() error {
	switch {
	case c.Topic == "":
		return fmt.Errorf("%w: Topic is empty", ErrConfig)
	case c.KeepState && c.StateURL == "":
		return fmt.Errorf("%w: KeepState begins with key frames: set StateURL", ErrConfig)
	case c.KeepState && c.Partitioner != nil:
		t := c.Partitioner.ForTopic(c.Topic)
		if _, byBackup := t.(kgo.TopicBackupPartitioner); byBackup || !t.RequiresConsistency(&kgo.Record{Topic: c.Topic, Key: []byte{}}) {
			return fmt.Errorf("%w: with KeepState the Partitioner's choice must be the key's", ErrConfig)
		}
	}
	return nil
}

// Fold is the topic's fold.
func (p *Producer) Fold() fold.Kind { return p.kind }

// Client is the franz-go client beneath.
func (p *Producer) Client() *kgo.Client { return p.cl }

// Close flushes nothing: call Flush first if Produce was used.
func (p *Producer) Close() { p.cl.Close() }

// Flush waits until everything that was handed to Produce is acknowledged or failed.
func (p *Producer) Flush(ctx context.Context) error { return p.cl.Flush(ctx) }

// Put is the record that sets a key to a value.
func (p *Producer) Put(key, value []byte) *kgo.Record {
	if value == nil {
		value = []byte{} // a null value would delete
	}
	return p.record(delta.Put, key, value)
}

// Delete is the record that deletes a key.
func (p *Producer) Delete(key []byte) *kgo.Record { return p.record(delta.Delete, key, nil) }

// Merge is the record that merges an RFC 7396 patch into a key's document. Fold json-merge-patch only.
func (p *Producer) Merge(key, patch []byte) *kgo.Record { return p.record(delta.Merge, key, patch) }

// Add is the record that adds n to a key's counter. Fold counter only.
func (p *Producer) Add(key []byte, n int64) *kgo.Record {
	return p.record(delta.Add, key, strconv.AppendInt(nil, n, 10))
}

func (p *Producer) record(op delta.Op, key, value []byte) *kgo.Record {
	r := &kgo.Record{Topic: p.topic, Key: key, Value: value}
	if p.kind.Names(op, value) {
		r.Headers = []kgo.RecordHeader{{Key: delta.HeaderOp, Value: []byte(op.String())}}
	}
	return r
}

// Check tells whether the topic's fold takes a record; the error is a *delta.Refusal, as the broker would put it.
func (p *Producer) Check(r *kgo.Record) error {
	_, err := p.check(r)
	return err
}

// check is Check; headers are those of the record, encoded.
func (p *Producer) check(r *kgo.Record) (headers batch.Headers, err error) {
	if r.Topic != "" && r.Topic != p.topic {
		return nil, fmt.Errorf("%w: this producer writes to topic %s, the record is for %s", ErrConfig, p.topic, r.Topic)
	}
	headers = encodedHeaders(r)
	if _, err := p.kind.Delta(r.Key, r.Value, headers); err != nil {
		return nil, fmt.Errorf("topic %s, key %.40q: %w", p.topic, r.Key, err)
	}
	return headers, nil
}

// encodedHeaders are those of a record as a batch has them; nil: there are none.
func encodedHeaders(r *kgo.Record) batch.Headers {
	if len(r.Headers) == 0 {
		return nil
	}
	hs := make([]batch.Header, len(r.Headers))
	for i, h := range r.Headers {
		hs[i] = batch.Header{Key: h.Key, Value: h.Value}
	}
	return batch.AppendHeaders(nil, hs...)
}

// Produce checks a record and hands it to franz-go; promise (may be nil) is called once it is acknowledged or failed, at once
// where the check fails. It must not wait for the producer: who produces in a promise starts a goroutine for it.
func (p *Producer) Produce(ctx context.Context, r *kgo.Record, promise func(*kgo.Record, error)) {
	headers, err := p.check(r)
	switch {
	case err != nil && promise != nil:
		promise(r, err)
	case err != nil:
	case p.kept != nil:
		p.kept.produce(ctx, r, headers, promise)
	default:
		p.cl.Produce(ctx, r, promise)
	}
}

// ProduceSync checks all records, writes them and waits for the acknowledgements. If a check fails nothing is written.
func (p *Producer) ProduceSync(ctx context.Context, records ...*kgo.Record) kgo.ProduceResults {
	headers := make([]batch.Headers, len(records))
	for i, r := range records {
		var err error
		if headers[i], err = p.check(r); err != nil {
			return kgo.ProduceResults{{Record: r, Err: err}}
		}
	}
	if p.kept != nil {
		return p.kept.produceSync(ctx, records, headers)
	}
	return p.cl.ProduceSync(ctx, records...)
}
