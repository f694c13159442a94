// Package keyed is about states: who writes one, and who keeps a copy of it.
//
//	s, err := keyed.NewSource(t, topic, shape, producer)
//	err = s.Each(ctx, report)               // every key once
//	err = s.Update(ctx, 10_000_000, report) // then random ones
//	f := keyed.NewReplica(t, topic, dir)    // or NewConsumer: one that reads the topic as any Kafka client
//	err = f.CatchUp(ctx, ends)
//	same := f.Digest() == s.Digest()
package keyed

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Fill sends so many records in their order, and waits until all are acknowledged; it counts them as they are. progress is told how many were sent, now
// and then. Errors: that of the first record that was refused.
type Fill func(ctx context.Context, n int64, next func(i int64) *kgo.Record, acked *atomic.Int64, progress func(sent int64)) error

// Source writes records of a fixed set of keys, and knows what state they amount to: the last value of each key.
type Source struct {
	send    Fill
	close   func()
	records *load.Records
	keys    int64
	last    [][]byte // value of each key; nil: it was never written
	sent    int64
	acked   atomic.Int64
}

// NewSource opens a producer. One writes a topic alone, else it does not know the state.
func NewSource(t *target.Target, topic string, shape load.Shape, p load.Producer) (*Source, error) {
	cl, err := t.Client(p.Options(topic)...)
	if err != nil {
		return nil, err
	}
	s, err := SourceTo(shape, func(ctx context.Context, n int64, next func(int64) *kgo.Record, acked *atomic.Int64, progress func(int64)) error {
		return load.Fill(ctx, cl, n, next, acked, progress)
	})
	if err != nil {
		cl.Close()
		return nil, err
	}
	s.close = cl.Close
	return s, nil
}

// SourceTo writes to whatever takes records.
func SourceTo(shape load.Shape, send Fill) (*Source, error) {
	if shape.Keys <= 0 {
		return nil, errors.New("a state has keys")
	}
	tables, err := shape.Tables()
	if err != nil {
		return nil, err
	}
	return &Source{send: send, close: func() {}, records: tables.Records(1), keys: shape.Keys, last: make([][]byte, shape.Keys)}, nil
}

// Close ends the producer.
func (s *Source) Close() { s.close() }

// Each writes every key once, and waits for the acknowledgements.
func (s *Source) Each(ctx context.Context, progress func(int64)) error {
	return s.fill(ctx, s.keys, func(i int64) int64 { return i }, progress)
}

// Update writes n times a key by chance, and waits for the acknowledgements.
func (s *Source) Update(ctx context.Context, n int64, progress func(int64)) error {
	return s.fill(ctx, n, func(int64) int64 { return s.records.Random(s.keys) }, progress)
}

// UpdateSome is Update of the first so many keys only.
func (s *Source) UpdateSome(ctx context.Context, n, keys int64, progress func(int64)) error {
	return s.fill(ctx, n, func(int64) int64 { return s.records.Random(keys) }, progress)
}

func (s *Source) fill(ctx context.Context, n int64, key func(int64) int64, progress func(int64)) error {
	s.sent += n
	return s.send(ctx, n, func(i int64) *kgo.Record {
		k := key(i)
		r := s.records.Of(k)
		s.last[k] = r.Value
		return r
	}, &s.acked, progress)
}

// Acked is how many records were acknowledged until now. It may be called at any time.
func (s *Source) Acked() int64 { return s.acked.Load() }

// Sent is how many records were written.
func (s *Source) Sent() int64 { return s.sent }

// Digest is that of the state.
func (s *Source) Digest() (d digest.Digest) {
	var h digest.Hasher
	for i, value := range s.last {
		if value != nil {
			d.Add(h.Entry(s.records.Key(int64(i)), value))
		}
	}
	return d
}
