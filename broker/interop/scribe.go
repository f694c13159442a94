package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// scribe makes a topic of one partition and writes to it until something fails. The records know their offsets afterwards.
type scribe struct {
	cl      *kgo.Client
	addr    string
	topic   string
	written []*kgo.Record
	err     error
}

// newScribe makes the topic; configs are names and values in turn.
func newScribe(ctx context.Context, addr, topic string, configs ...string) (*scribe, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic(topic),
		kgo.ProducerLinger(50*time.Millisecond), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	pointers := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		pointers[configs[i]] = &configs[i+1]
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, pointers, topic); err != nil {
		cl.Close()
		return nil, fmt.Errorf("create %s: %w", topic, err)
	}
	return &scribe{cl: cl, addr: addr, topic: topic}, nil
}

// put makes a record with headers, names and values in turn, and the next timestamp; a nil value deletes.
func (s *scribe) put(key string, value []byte, headers ...string) *kgo.Record {
	r := &kgo.Record{Key: []byte(key), Value: value, Timestamp: time.UnixMilli(1_750_000_000_000 + int64(len(s.written)))}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	s.written = append(s.written, r)
	return r
}

// send what was put since the last time, in order.
func (s *scribe) send(ctx context.Context) {
	var fresh []*kgo.Record
	for _, r := range s.written {
		if r.Topic == "" {
			fresh = append(fresh, r)
		}
	}
	if s.err == nil {
		s.err = s.cl.ProduceSync(ctx, fresh...).FirstErr()
	}
}

// end of the partition.
func (s *scribe) end() int64 { return int64(len(s.written)) }

// cut makes a key frame, on a broker of ours.
func (s *scribe) cut(ctx context.Context, b *ours) {
	if b != nil && s.err == nil {
		s.err = b.cut(ctx, s.topic)
	}
}

// trimmedTo has ours trim the topic to a cut at its end, and a tail behind it, of one batch, that stays as it is: n1 is where it begins.
func (s *scribe) trimmedTo(ctx context.Context, b *ours, tail func()) (n1 int64) {
	s.send(ctx)
	n1 = s.end()
	s.cut(ctx, b)
	tail()
	s.send(ctx)
	s.cut(ctx, b) // a new key frame is when upkeep looks for what to trim
	return n1
}
