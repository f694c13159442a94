// Package many is the workload of many small writers: one record in flight on each of so many partitions. What it measures is how a broker makes a
// promise durable for all of them at once.
//
//	cfg := many.DefaultConfig()
//	cfg.Partitions = 1000
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Its figures: records a second over all partitions, and how long each took from being sent to its acknowledgement.
package many

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	Clients  int           `json:"clients"` // that share the partitions; each has a connection of its own
	Acks     string        `json:"acks"`
	Duration time.Duration `json:"duration_ns"`
}

// DefaultConfig is 100 partitions of one client, with records of 100 bytes.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 100}, Topic: target.Topic{Name: "bench-many", Partitions: 100}, Clients: 1, Acks: "all", Duration: 10 * time.Second}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Duration <= 0:
		return errors.New("the duration is above zero")
	case c.Clients <= 0 || c.Clients > int(c.Partitions):
		return fmt.Errorf("from 1 to %d clients, one for each partition", c.Partitions)
	case c.Keys != 0:
		return errors.New("these records have no keys: each goes to the partition that is free")
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.producer().Validate())
}

// producer sends each record at once.
func (c Config) producer() load.Producer {
	p := load.DefaultProducer()
	p.Linger, p.Acks = 0, c.Acks
	return p
}

// Run implements bench.Workload. A record that the broker refuses fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "many", c, c.Topic, func(_ *target.Created, r *result.Result) error { return c.on(ctx, t, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, r *result.Result, p bench.Progress) (err error) {
	tables, err := c.Tables()
	if err != nil {
		return err
	}
	writers := make([]*writer, c.Clients)
	for i := range writers {
		cl, err := t.Client(append(c.producer().Options(c.Name), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		if err != nil {
			return err
		}
		defer cl.Close()
		writers[i] = &writer{cl: cl, records: tables.Records(uint64(i)), took: result.NewHistogram()}
	}
	if err := c.warm(ctx, writers); err != nil {
		return err
	}
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	p.Phase(fmt.Sprintf("%d partitions", c.Partitions), int64(c.Duration.Seconds()), "s")
	began := time.Now()
	ends := began.Add(c.Duration)
	for partition := range c.Partitions {
		w := writers[int(partition)%c.Clients]
		w.send(ctx, partition, ends)
	}
	sent := int64(0)
	for _, w := range writers {
		w.wait(p, began)
		sent += w.sent
		err = errors.Join(err, w.err)
	}
	elapsed := time.Since(began)
	if err := errors.Join(err, ctx.Err(), meter.Stop()); err != nil {
		return err
	}
	took := result.NewHistogram()
	for _, w := range writers {
		took.Add(w.took)
	}
	r.Add("records", float64(sent)/elapsed.Seconds(), "records/s", result.Higher)
	r.Latencies(took.Latency("acknowledged"))
	r.Add("broker CPU per record", float64(meter.CPU().Microseconds())/float64(max(sent, 1)), "us", result.Lower)
	meter.Add(r, 0)
	return nil
}

// warm sends one record to every partition, so that connections and logs are open.
func (c Config) warm(ctx context.Context, writers []*writer) error {
	for partition := range c.Partitions {
		w := writers[int(partition)%c.Clients]
		record := w.records.Next()
		record.Partition = partition
		w.cl.Produce(ctx, record, w.note)
	}
	var err error
	for _, w := range writers {
		err = errors.Join(err, w.cl.Flush(ctx), w.err)
	}
	return err
}

// writer keeps one record in flight on each of its partitions.
type writer struct {
	cl      *kgo.Client
	flights sync.WaitGroup // a partition each

	mu      sync.Mutex // guards what is below
	records *load.Records
	took    *result.Histogram
	sent    int64
	err     error
}

func (w *writer) note(_ *kgo.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}

// send sends one record to a partition, and when it is acknowledged the next.
func (w *writer) send(ctx context.Context, partition int32, ends time.Time) {
	w.flights.Add(1)
	var next func()
	next = func() {
		w.mu.Lock()
		record := w.records.Next()
		w.mu.Unlock()
		record.Partition = partition
		began := time.Now()
		w.cl.Produce(ctx, record, func(_ *kgo.Record, err error) {
			now := time.Now()
			w.mu.Lock()
			if err == nil {
				w.sent++
				w.took.Record(now.Sub(began))
			} else if w.err == nil {
				w.err = err
			}
			w.mu.Unlock()
			if err != nil || now.After(ends) {
				w.flights.Done()
				return
			}
			next()
		})
	}
	next()
}

// wait returns when no record is in flight any more.
func (w *writer) wait(p bench.Progress, began time.Time) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.flights.Wait()
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case now := <-tick.C:
			p.At(int64(now.Sub(began).Seconds()))
		}
	}
}
