package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The compacted topic that the drivers bootstrap from; capabilities.txt describes it to them.
const (
	fixtureKeys   = 600
	fixtureRounds = 4
	fixtureTail   = 20
	abortedFrom   = 100 // keys
	abortedTo     = 120
)

// makeFixture writes the topic, with a key frame before its tail, and waits until it is compacted. b is nil for a broker that is not ours.
func makeFixture(ctx context.Context, addr, topic string, b *ours) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(64<<10), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	configs := map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.bytes": "1048576"}
	if b != nil {
		configs["keyframe.delta.retention.ms"] = "0"
		configs["keyframe.interval.ms"] = "1000" // a new key frame is when upkeep looks for what to trim
	}
	pointers := map[string]*string{}
	for k, v := range configs {
		pointers[k] = &v
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, pointers, topic); err != nil {
		return fmt.Errorf("create %s: %w", topic, err)
	}
	w := &fixtureWriter{cl: cl, topic: topic}
	for round := range fixtureRounds {
		if round == fixtureRounds-1 {
			w.abort(ctx, addr)
		}
		w.write(ctx, strconv.Itoa(round), 0, fixtureKeys, 1)
	}
	w.write(ctx, "deleted", 3, fixtureKeys, 10)
	if b != nil && w.err == nil {
		w.err = b.cut(ctx, topic)
	}
	w.write(ctx, "4", 0, fixtureTail, 1)
	if w.err != nil {
		return fmt.Errorf("write %s: %w", topic, w.err)
	}
	return trimmed(ctx, addr, topic)
}

// fixtureWriter writes until something fails.
type fixtureWriter struct {
	cl    *kgo.Client
	topic string
	n     int // records written
	err   error
}

// write one round of keys from (inclusive) to (exclusive).
func (w *fixtureWriter) write(ctx context.Context, round string, from, to, step int) {
	var records []*kgo.Record
	for i := from; i < to; i += step {
		records = append(records, fixtureRecord(w.topic, i, round, w.n))
		w.n++
	}
	if w.err == nil {
		w.err = w.cl.ProduceSync(ctx, records...).FirstErr()
	}
}

// abort writes some keys in a transaction that is aborted.
func (w *fixtureWriter) abort(ctx context.Context, addr string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(w.topic))
	if err == nil {
		defer cl.Close()
		err = cl.BeginTransaction()
	}
	if w.err = errors.Join(w.err, err); w.err != nil {
		return
	}
	outer := w.cl
	w.cl = cl
	w.write(ctx, "aborted", abortedFrom, abortedTo, 1)
	w.cl = outer
	if w.err == nil {
		w.err = cl.EndTransaction(ctx, kgo.TryAbort)
	}
}

func fixtureRecord(topic string, i int, round string, n int) *kgo.Record {
	at := time.UnixMilli(1_750_000_000_000 + int64(n))
	r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%04d", i), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "round", Value: []byte(round)}, {Key: "time", Value: []byte(strconv.FormatInt(at.UnixMilli(), 10))}}}
	if round != "deleted" {
		r.Value = fmt.Appendf(nil, "value-%d-%s-%s", i, round, strings.Repeat("x", 2000))
	}
	return r
}

// makeFours gives every driver a topic with four partitions.
func makeFours(ctx context.Context, w *workplace, all []driver) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(w.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	names := make([]string, len(all))
	for i, d := range all {
		names[i] = four(w, d)
	}
	responses, err := kadm.NewClient(cl).CreateTopics(ctx, 4, 1, nil, names...)
	if err != nil {
		return err
	}
	return responses.Error()
}
