// Package soak is the workload that lasts: records of random keys at a rate, who reads them as they come, and who keeps the state that they amount to.
//
//	cfg := soak.DefaultConfig()
//	cfg.Duration, cfg.Interval = 12*time.Hour, time.Minute
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// At every interval a sample is taken: throughput, the 99th percentile end to end, lag, memory and disk; so a leak, a stall or a directory that grows
// without end shows. A record that is lost, doubled or out of order fails it, and so does a state that is not in the end, and at no key frame before, that
// of the log. Where there is a state plane the state is a replica's; else the consumer's own.
package soak

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	Rate     int64         `json:"rate"` // records a second
	Duration time.Duration `json:"duration_ns"`
	Interval time.Duration `json:"interval_ns"` // between two samples
}

// DefaultConfig is half a minute of 5,000 records a second; who means it takes hours.
func DefaultConfig() Config {
	c := Config{Shape: load.Shape{ValueBytes: 100, Keys: 100_000}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-soak", Partitions: 8},
		Rate: 5000, Duration: 30 * time.Second, Interval: 5 * time.Second}
	return c
}

// stampBytes is how much of a value is the record's: its number, and when it was due in Unix nanoseconds, both big-endian.
const stampBytes = 16

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Duration <= 0 || c.Rate <= 0 || c.Keys <= 0:
		return errors.New("duration, rate and keys are above zero")
	case c.Interval <= 0 || c.Interval > c.Duration:
		return fmt.Errorf("an interval of %s: above zero, and not above the duration, %s", c.Interval, c.Duration)
	case c.ValueBytes < stampBytes:
		return fmt.Errorf("a value has at least %d bytes: its number and time are in it", stampBytes)
	case c.Acks == "0":
		return errors.New("acks 0 is no promise whose keeping could be watched")
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// records is how many are sent.
func (c Config) records() int64 { return int64(c.Duration.Seconds() * float64(c.Rate)) }

// late is how long after the last acknowledgement the last record may come, and the state be current.
const late = time.Minute

// Run implements bench.Workload.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "soak", c, c.Compacted(), func(topic *target.Created, r *result.Result) error { return c.on(ctx, t, topic, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, topic *target.Created, r *result.Result, p bench.Progress) (err error) {
	run, err := c.open(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.close()) }()
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	p.Phase("at a rate", int64(c.Duration.Seconds()), "s")
	if err := run.all(ctx, p); err != nil {
		return err
	}
	elapsed := max(time.Since(run.began), c.Duration)
	if err := meter.Stop(); err != nil {
		return err
	}
	p.Phase("compare", 0, "")
	if err := run.compare(ctx, topic); err != nil {
		return err
	}
	r.Add("records", float64(c.records())/elapsed.Seconds(), "records/s", result.Higher)
	r.Latencies(run.arrived.all.Latency("end to end"))
	run.samples.add(r)
	if t.Process != nil {
		r.Add("broker CPU per record", float64(meter.CPU().Microseconds())/float64(c.records()), "us", result.Lower)
	}
	if n, ok := run.state.equal(); ok {
		r.Add("times equal to the log", float64(n), "", "") // as many as key frames were cut
	}
	return nil
}
