// Package bootstrap is the workload of a replica that comes up: fill a key-framed topic with the state of many keys, cut a key frame,
// and measure how long a new replica takes from nothing to a verified copy.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// Config is the workload.
type Config struct {
	Kafka      string // address
	State      string // URL
	Topic      string
	Partitions int32
	Keys       int // distinct; 16 bytes each
	ValueBytes int
}

// Fill creates the topic, puts every key once and cuts a key frame of all partitions.
func Fill(ctx context.Context, cfg Config) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Kafka), kgo.DefaultProduceTopic(cfg.Topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(1<<18))
	if err != nil {
		return err
	}
	defer cl.Close()
	policy := "compact"
	created, err := kadm.NewClient(cl).CreateTopic(ctx, cfg.Partitions, 1, map[string]*string{"cleanup.policy": &policy}, cfg.Topic)
	if err := errors.Join(err, created.Err); err != nil {
		return err
	}
	noise := make([]byte, 1<<20+cfg.ValueBytes)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	var failed atomic.Pointer[error]
	for i := range cfg.Keys {
		at := i * 7919 % (1 << 20)
		cl.Produce(ctx, &kgo.Record{Key: fmt.Appendf(nil, "key-%012d", i), Value: noise[at : at+cfg.ValueBytes]}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	_, err = stateconnect.NewStateServiceClient(http.DefaultClient, cfg.State).Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: cfg.Topic}))
	return err
}

// Run opens a replica from the newest frame and returns how long it took until it held every key, verified.
func Run(ctx context.Context, cfg Config, store client.Store) (took time.Duration, err error) {
	began := time.Now()
	r, err := client.OpenReplica(ctx, client.Config{Brokers: []string{cfg.Kafka}, StateURL: cfg.State, Topic: cfg.Topic, Store: store})
	if err != nil {
		return 0, err
	}
	took = time.Since(began)
	defer func() { err = errors.Join(err, r.Close()) }()
	d, err := r.Digest()
	if err != nil {
		return took, err
	}
	if d.Count != int64(cfg.Keys) {
		return took, fmt.Errorf("the replica holds %d rows of %d", d.Count, cfg.Keys)
	}
	for _, v := range r.Verify(ctx) {
		if v.Outcome != client.Equal {
			return took, fmt.Errorf("partition %d is %s: %s", v.Partition, v.Outcome, v.Reason)
		}
	}
	return took, nil
}
