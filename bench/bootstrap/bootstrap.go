// Package bootstrap is the workload of a consumer that begins with nothing: how long until it holds the state of K keys, after U updates of them.
//
//	cfg := bootstrap.DefaultConfig()
//	cfg.Updates = []int64{1_000_000, 10_000_000, 30_000_000}
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// A log that is read from its start costs what was ever written, or what its cleaner has left of it; a key frame what there is. Where the target has a
// state plane the consumer is a replica, verified against the log; else, or if Via says so, it reads the topic into a map as any Kafka client does.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Via is how the consumer reads.
type Via string

const (
	ViaBest  Via = ""      // by key frames where there is a state plane, else as a Kafka client
	ViaKafka Via = "kafka" // as a Kafka client
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Updates   []int64 `json:"updates"`   // how many there were, in all, each time that it is measured; ascending
	Consumers int     `json:"consumers"` // that begin with nothing, each time; the median counts
	Via       Via     `json:"via"`
	Cut       bool    `json:"cut"`    // ask for a key frame before, where there is a state plane; for a Kafka client before the last 1,000 updates, too
	Settle    bool    `json:"settle"` // wait then until the broker has nothing to do any more
}

// DefaultConfig is a million keys, after a million updates and after five.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-bootstrap", Partitions: 8},
		Updates: []int64{1_000_000, 5_000_000}, Consumers: 3}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Consumers <= 0 || c.Keys <= 0:
		return errors.New("consumers and keys are above zero")
	case len(c.Updates) == 0 || !slices.IsSorted(c.Updates) || c.Updates[0] < c.Keys:
		return fmt.Errorf("updates %v: ascending, and not fewer than the keys, each of which is written once at least", c.Updates)
	case c.Via != ViaBest && c.Via != ViaKafka:
		return fmt.Errorf("via %q: kafka, or nothing", c.Via)
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload. A consumer whose state is not what was written fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "bootstrap", c, c.Compacted(), func(topic *target.Created, r *result.Result) error { return c.on(ctx, t, topic, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, topic *target.Created, r *result.Result, p bench.Progress) error {
	source, err := keyed.NewSource(t, c.Name, c.Shape, c.Producer)
	if err != nil {
		return err
	}
	defer source.Close()
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	p.Phase("every key once", c.Keys, "records")
	if err := source.Each(ctx, p.At); err != nil {
		return err
	}
	var steps []Step
	for _, updates := range c.Updates {
		n := updates - source.Sent()
		p.Phase("updates", n, "records")
		behind := c.behindCut(t, n)
		if err := source.Update(ctx, n-behind, p.At); err != nil {
			return err
		}
		if err := meter.Stop(); err != nil {
			return err
		}
		s, err := c.measure(ctx, t, topic, source, behind, p)
		if err != nil {
			return fmt.Errorf("after %d updates: %w", updates, err)
		}
		s.Updates = updates
		steps = append(steps, s)
	}
	AddSteps(r, steps)
	meter.AddAs(r, "while writing, ", c.Updates[len(c.Updates)-1]*c.RecordBytes())
	return nil
}

// behindCut is how many of n updates come after the key frame that is asked for: some where a Kafka client is to read it.
func (c Config) behindCut(t *target.Target, n int64) int64 {
	if c.Cut && c.Via == ViaKafka && t.StateURL != "" {
		return min(n, keyed.BehindCut)
	}
	return 0
}

// cut asks for a key frame, writes so many updates more, with another frame behind them, and settles, each where that is asked for.
func (c Config) cut(ctx context.Context, t *target.Target, source *keyed.Source, behind int64, p bench.Progress) error {
	if c.Cut && t.StateURL != "" {
		p.Phase("cut", 0, "")
		if err := keyed.Cut(ctx, t, c.Name); err != nil {
			return err
		}
		if behind > 0 {
			if err := source.Update(ctx, behind, p.At); err != nil {
				return err
			}
			if err := keyed.Cut(ctx, t, c.Name); err != nil {
				return err
			}
		}
	}
	if !c.Settle {
		return nil
	}
	p.Phase("settle", 0, "")
	_, _, err := t.Settle(ctx)
	return err
}

func (c Config) measure(ctx context.Context, t *target.Target, topic *target.Created, source *keyed.Source, behind int64, p bench.Progress) (s Step, err error) {
	if err := c.cut(ctx, t, source, behind, p); err != nil {
		return s, err
	}
	ends, err := topic.Ends(ctx)
	if err != nil {
		return s, err
	}
	want := source.Digest()
	var took []float64
	p.Phase("bootstrap", int64(c.Consumers), "consumers")
	for i := range c.Consumers {
		var f keyed.Follower
		if c.Via == ViaKafka || t.StateURL == "" {
			f = keyed.NewConsumer(t, c.Name)
		} else if f, err = keyed.NewReplica(t, c.Name, ""); err != nil {
			return s, err
		}
		began := time.Now()
		if err := f.CatchUp(ctx, ends); err != nil {
			return s, errors.Join(err, f.Close())
		}
		took = append(took, time.Since(began).Seconds())
		got, err := f.Digest()
		if err == nil && got != want {
			err = fmt.Errorf("a state of %d rows is not the one of %d that was written", got.Count, want.Count)
		}
		s.Cost = f.Cost()
		if err := errors.Join(err, f.Close()); err != nil {
			return s, err
		}
		p.At(int64(i + 1))
	}
	s.Took = compare.SpreadOf(took)
	return s, nil
}
