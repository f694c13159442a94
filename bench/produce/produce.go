// Package produce is the workload that writes: so many producers, flat out or at a rate, for a while.
//
//	cfg := produce.DefaultConfig()
//	cfg.Duration = 10 * time.Second
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Its figures: throughput (bytes of keys and values, and records, from the first record to the last acknowledgement), the same once the broker has
// settled, and what the broker used for it.
package produce

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

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
	Producers int           `json:"producers"`
	Rate      int64         `json:"rate"` // records a second of all producers together; 0: as fast as they are acknowledged
	Duration  time.Duration `json:"duration_ns"`
	Settle    bool          `json:"settle"` // measure also how long the broker works on afterwards
}

// DefaultConfig is one producer of 1 KiB records without keys, flat out.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 1024}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-produce", Partitions: 8}, Producers: 1, Duration: 30 * time.Second}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Producers <= 0 || c.Duration <= 0:
		return errors.New("producers and duration are above zero")
	case c.Rate < 0:
		return fmt.Errorf("a rate of %d", c.Rate)
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload. A record that the broker refuses fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "produce", c, c.Topic, func(_ *target.Created, r *result.Result) error { return c.on(ctx, t, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, r *result.Result, p bench.Progress) error {
	tables, err := c.Tables()
	if err != nil {
		return err
	}
	clients := make([]*kgo.Client, c.Producers)
	for i := range clients {
		if clients[i], err = t.Client(c.Options(c.Name)...); err != nil {
			return err
		}
		defer clients[i].Close()
	}
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	p.Phase("produce", int64(c.Duration.Seconds()), "s")
	run := &run{Config: c, tables: tables, began: time.Now(), progress: p}
	throughput := result.Sample(time.Second, func() float64 { return float64(run.acked.Load()*c.RecordBytes()) / 1e6 })
	elapsed, err := run.all(ctx, clients)
	rates := throughput.Rates("acknowledged", "MB/s")
	if err := errors.Join(err, meter.Stop()); err != nil {
		return err
	}
	records := run.acked.Load()
	bytes := records * c.RecordBytes()
	r.Add("throughput", float64(bytes)/1e6/elapsed.Seconds(), "MB/s", result.Higher)
	r.Add("records", float64(records)/elapsed.Seconds(), "records/s", result.Higher)
	if c.Settle {
		p.Phase("settle", 0, "")
		took, ok, err := t.Settle(ctx)
		if err != nil {
			return err
		}
		if ok {
			r.Add("settled throughput", float64(bytes)/1e6/(elapsed+took).Seconds(), "MB/s", result.Higher)
			r.Add("settling", took.Seconds(), "s", result.Lower)
			if err := meter.Stop(); err != nil {
				return err
			}
		}
	}
	meter.Add(r, bytes)
	r.Series = append(r.Series, rates)
	return nil
}

// run is one that is under way.
type run struct {
	Config
	tables   *load.Tables
	progress bench.Progress
	began    time.Time
	acked    atomic.Int64
	failed   atomic.Pointer[error]
}

// all has all producers send, and waits for their acknowledgements. elapsed is until the last, and at a rate the whole time at the least.
func (r *run) all(ctx context.Context, clients []*kgo.Client) (elapsed time.Duration, err error) {
	all, ctx := errgroup.WithContext(ctx)
	for i, cl := range clients {
		all.Go(func() error { return r.send(ctx, cl, i) })
	}
	err = all.Wait()
	if elapsed = time.Since(r.began); r.Rate > 0 {
		elapsed = max(elapsed, r.Duration)
	}
	return elapsed, err
}

// look is how many records are sent between two looks at the clock.
const look = 256

func (r *run) send(ctx context.Context, cl *kgo.Client, no int) error {
	records, sent := r.tables.Records(uint64(no)), int64(0)
	pace := load.Pace{Began: r.began, Rate: float64(r.Rate) / float64(r.Producers)}
	for {
		if sent%look == 0 || r.Rate > 0 {
			past := time.Since(r.began)
			if past >= r.Duration || pace.Due(sent).Sub(r.began) >= r.Duration || r.failed.Load() != nil {
				break
			}
			if no == 0 {
				r.progress.At(int64(past.Seconds()))
			}
			if err := pace.Wait(ctx, sent); err != nil {
				return err
			}
		}
		cl.Produce(ctx, records.Next(), r.done)
		sent++
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := r.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *run) done(_ *kgo.Record, err error) {
	if err != nil {
		r.failed.CompareAndSwap(nil, &err)
		return
	}
	r.acked.Add(1)
}
