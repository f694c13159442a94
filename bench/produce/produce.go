// Package produce is the workload that fills a topic through the Kafka protocol as fast as one client can: records of one
// size, spread over the partitions, acknowledged with acks=all.
//
//	result, err := produce.Run(ctx, produce.Config{Brokers: addrs, Partitions: 8, RecordBytes: 1024, Duration: 10 * time.Second})
//	fmt.Println(result.MBPerSecond())
//
// It talks to any Kafka-protocol broker. The topic is created for the run and deleted after it. Values are incompressible, so that
// a broker or a file system that compresses gains nothing.
package produce

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config is the workload. Zero fields of sizes are errors, not defaults: a benchmark says what it measures.
type Config struct {
	Brokers     []string
	Topic       string // created and deleted by Run
	Partitions  int32
	RecordBytes int           // size of a record's value
	Duration    time.Duration // how long records are handed to the client; the flush after it counts as well
	BatchBytes  int32         // client batch limit; 0: 1 MiB less room for the header, what Kafka's max.message.bytes admits
}

// Result is what was measured.
type Result struct {
	Records int64
	Bytes   int64         // of values
	Elapsed time.Duration // from the first record to the last acknowledgement
}

// MBPerSecond is in 10^6 bytes of values a second.
func (r Result) MBPerSecond() float64 { return float64(r.Bytes) / 1e6 / r.Elapsed.Seconds() }

// Run creates the topic, produces, waits for every acknowledgement and deletes the topic. A refused record fails the run.
func Run(ctx context.Context, cfg Config) (result Result, err error) {
	if cfg.RecordBytes <= 0 || cfg.Partitions <= 0 || cfg.Duration <= 0 {
		return result, fmt.Errorf("produce: record size, partitions and duration must be positive: %+v", cfg)
	}
	if cfg.BatchBytes == 0 {
		cfg.BatchBytes = 1_000_000
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.DefaultProduceTopic(cfg.Topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(cfg.BatchBytes), kgo.MaxBufferedRecords(1<<20),
		kgo.MaxBufferedBytes(256<<20), kgo.ProducerLinger(5*time.Millisecond), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return result, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	created, err := admin.CreateTopic(ctx, cfg.Partitions, 1, nil, cfg.Topic)
	if err := errors.Join(err, created.Err); err != nil {
		return result, err
	}
	defer func() {
		deleted, deleteErr := admin.DeleteTopic(ctx, cfg.Topic)
		err = errors.Join(err, deleteErr, deleted.Err)
	}()
	return fill(ctx, client, cfg)
}

func fill(ctx context.Context, client *kgo.Client, cfg Config) (Result, error) {
	noise := make([]byte, 8<<20+cfg.RecordBytes)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	var result Result
	began := time.Now()
	for at := 0; failed.Load() == nil && (result.Records%1024 != 0 || time.Since(began) < cfg.Duration); at = (at + 4099) % (8 << 20) {
		client.Produce(ctx, &kgo.Record{Value: noise[at : at+cfg.RecordBytes]}, done)
		result.Records++
	}
	if err := client.Flush(ctx); err != nil {
		return result, err
	}
	result.Elapsed = time.Since(began)
	result.Bytes = result.Records * int64(cfg.RecordBytes)
	if err := failed.Load(); err != nil {
		return result, *err
	}
	return result, nil
}
