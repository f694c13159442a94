// Package consume is the workload that reads: a topic is filled, and read from its start as fast as it comes, by so many consumers one after the other.
//
//	cfg := consume.DefaultConfig()
//	cfg.Bytes, cfg.Cold = 4<<30, true
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Its figures: throughput of a catch-up read of what was just written and has settled, of the same once more, when all that can be is in memory, and,
// where it may drop the system's page cache, from disk.
package consume

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Bytes int64 `json:"bytes"` // of keys and values, that are read
	Cold  bool  `json:"cold"`  // read from disk as well: the page cache of this machine is dropped, which root may
}

// DefaultConfig is 1 GB of 1 KiB records.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 1024}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-consume", Partitions: 8}, Bytes: 1_000_000_000}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Bytes < c.RecordBytes():
		return fmt.Errorf("%d bytes are less than one record", c.Bytes)
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload. A record too few or too many fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "consume", c, c.Topic, func(topic *target.Created, r *result.Result) error { return c.on(ctx, t, topic, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, topic *target.Created, r *result.Result, p bench.Progress) error {
	n := c.Bytes / c.RecordBytes()
	if err := c.fill(ctx, t, n, p); err != nil {
		return err
	}
	if _, _, err := t.Settle(ctx); err != nil {
		return err
	}
	ends, err := topic.Ends(ctx)
	if err != nil {
		return err
	}
	for _, reading := range []struct {
		name string
		cold bool
	}{{"just written", false}, {"warm", false}, {"cold", true}} {
		if reading.cold && !c.Cold {
			continue
		}
		if reading.cold {
			if err := probe.DropCaches(); err != nil {
				return err
			}
		}
		p.Phase(reading.name, n, "records")
		if err := c.read(ctx, t, r, reading.name, ends, n, p); err != nil {
			return fmt.Errorf("%s: %w", reading.name, err)
		}
	}
	return nil
}

func (c Config) fill(ctx context.Context, t *target.Target, n int64, p bench.Progress) error {
	tables, err := c.Tables()
	if err != nil {
		return err
	}
	cl, err := t.Client(c.Options(c.Name)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	records := tables.Records(1)
	p.Phase("fill", n, "records")
	return load.Fill(ctx, cl, n, func(int64) *kgo.Record { return records.Next() }, new(atomic.Int64), p.At)
}

// read reads everything once, with a client of its own.
func (c Config) read(ctx context.Context, t *target.Target, r *result.Result, name string, ends load.Ends, want int64, p bench.Progress) error {
	cl, err := t.Client(load.ConsumerOptions(kgo.ConsumeTopics(c.Name))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	var got atomic.Int64
	rates := result.Sample(100*time.Millisecond, func() float64 { return float64(got.Load()*c.RecordBytes()) / 1e6 })
	began := time.Now()
	err = load.Read(ctx, cl, ends, func(records []*kgo.Record) error {
		p.At(got.Add(int64(len(records))))
		return nil
	})
	took := time.Since(began)
	series := rates.Rates(name, "MB/s")
	if err := errors.Join(err, meter.Stop()); err != nil {
		return err
	}
	if got.Load() != want {
		return fmt.Errorf("%d records were read, and %d acknowledged", got.Load(), want)
	}
	bytes := want * c.RecordBytes()
	r.Add(name+" throughput", float64(bytes)/1e6/took.Seconds(), "MB/s", result.Higher)
	r.Add(name+" records", float64(want)/took.Seconds(), "records/s", result.Higher)
	meter.AddAs(r, name+" ", bytes)
	r.Series = append(r.Series, series)
	return nil
}
