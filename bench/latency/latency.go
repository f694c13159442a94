// Package latency is the workload that measures how long a record is on its way: from when it was due to be sent until a consumer has it.
//
//	cfg := latency.DefaultConfig()
//	cfg.Rate = 100_000
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Records are sent at a rate, whatever becomes of those before (an open loop), and each carries the time at which it was due. So a broker that holds up
// the sender is blamed for everything that was not sent meanwhile. Its figures: percentiles end to end, and to the acknowledgement.
package latency

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Rate     int64         `json:"rate"`      // records a second
	Warmup   time.Duration `json:"warmup_ns"` // at the beginning, not counted
	Duration time.Duration `json:"duration_ns"`
	Disk     time.Duration `json:"disk_ns,omitempty"` // half before it and half after: what the disk alone takes for the same bytes
}

// DefaultConfig is 20,000 records of 1 KiB a second, each sent at once.
func DefaultConfig() Config {
	c := Config{Shape: load.Shape{ValueBytes: 1024}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-latency", Partitions: 8}, Rate: 20_000,
		Warmup: 3 * time.Second, Duration: 20 * time.Second}
	c.Linger = 0
	return c
}

// stampBytes is how much of a value is the time at which it was due: Unix nanoseconds, big-endian.
const stampBytes = 8

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Duration <= 0 || c.Rate <= 0:
		return errors.New("duration and rate are above zero")
	case c.Warmup < 0 || c.Disk < 0:
		return fmt.Errorf("a warm-up of %s, and the disk alone for %s", c.Warmup, c.Disk)
	case c.ValueBytes < stampBytes:
		return fmt.Errorf("a value has at least %d bytes: the time is in it", stampBytes)
	case c.Acks == "0":
		return errors.New("acks 0 is no promise whose keeping could be measured")
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// records is how many are sent.
func (c Config) records() int64 { return int64((c.Warmup + c.Duration).Seconds() * float64(c.Rate)) }

// late is how long after the last acknowledgement the last record may come.
const late = 30 * time.Second

// Run implements bench.Workload. A record that is refused, or does not come, fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "latency", c, c.Topic, func(_ *target.Created, r *result.Result) error {
		if c.Disk == 0 {
			return c.on(ctx, t, r, p)
		}
		return c.besideDisk(ctx, t, r, p)
	})
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, r *result.Result, p bench.Progress) error {
	tables, err := c.Tables()
	if err != nil {
		return err
	}
	producer, err := t.Client(c.Options(c.Name)...)
	if err != nil {
		return err
	}
	defer producer.Close()
	consumer, err := t.Client(load.ConsumerOptions(kgo.ConsumeTopics(c.Name))...)
	if err != nil {
		return err
	}
	defer consumer.Close()
	if err := c.join(ctx, producer, consumer, tables); err != nil {
		return err
	}
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	began := time.Now()
	run := &run{Config: c, began: began, counts: began.Add(c.Warmup), acked: result.NewHistogram(), arrived: result.NewHistogram()}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	arrived := make(chan error, 1)
	go func() { arrived <- run.receive(ctx, consumer) }()
	p.Phase("at a rate", int64((c.Warmup + c.Duration).Seconds()), "s")
	if err := run.send(ctx, producer, tables.Records(1), p); err != nil {
		stop()
		return errors.Join(err, <-arrived)
	}
	elapsed := time.Since(began)
	deadline := time.AfterFunc(late, stop)
	err = <-arrived
	deadline.Stop()
	if err := errors.Join(err, meter.Stop()); err != nil {
		return fmt.Errorf("%d of %d records have come: %w", run.got.Load(), c.records(), err)
	}
	r.Latencies(run.arrived.Latency("end to end"))
	r.Latencies(run.acked.Latency("acknowledged"))
	r.Add("rate", float64(c.records())/elapsed.Seconds(), "records/s", "")
	meter.Add(r, c.records()*c.RecordBytes())
	return nil
}

// join sends a record, and returns when the consumer has it: nothing is measured before both are there.
func (c Config) join(ctx context.Context, producer, consumer *kgo.Client, tables *load.Tables) error {
	ctx, cancel := context.WithTimeout(ctx, late)
	defer cancel()
	records := tables.Records(0)
	if err := producer.ProduceSync(ctx, records.Next()).FirstErr(); err != nil {
		return err
	}
	for {
		fetches := consumer.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return err
		}
		if fetches.NumRecords() > 0 {
			return nil
		}
	}
}

type run struct {
	Config
	began, counts time.Time // what is due before counts is warm-up
	got           atomic.Int64
	arrived       *result.Histogram // of receive

	mu    sync.Mutex
	acked *result.Histogram // guarded by mu
	err   error             // guarded by mu
}

// send sends what is due, and waits for the acknowledgements.
func (r *run) send(ctx context.Context, cl *kgo.Client, records *load.Records, p bench.Progress) error {
	pace := load.Pace{Began: r.began, Rate: float64(r.Rate)}
	for i := range r.records() {
		if err := pace.Wait(ctx, i); err != nil {
			return err
		}
		if i%r.Rate == 0 {
			p.At(i / r.Rate)
		}
		due := pace.Due(i)
		record := records.Next()
		record.Value = append([]byte(nil), record.Value...)
		binary.BigEndian.PutUint64(record.Value, uint64(due.UnixNano()))
		cl.Produce(ctx, record, func(_ *kgo.Record, err error) { r.ack(due, err) })
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *run) ack(due time.Time, err error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.err == nil:
		r.err = err
	case err == nil && !due.Before(r.counts):
		r.acked.Record(now.Sub(due))
	}
}

// receive reads until everything has come.
func (r *run) receive(ctx context.Context, cl *kgo.Client) error {
	counts := r.counts.UnixNano()
	for r.got.Load() < r.records() {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		now := time.Now().UnixNano()
		fetches.EachRecord(func(record *kgo.Record) {
			r.got.Add(1)
			if due := int64(binary.BigEndian.Uint64(record.Value)); due >= counts {
				r.arrived.Record(time.Duration(now - due))
			}
		})
	}
	return nil
}
