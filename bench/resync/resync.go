// Package resync is the workload of a consumer that was away: it held the state, slept through many updates of few keys, and is to hold it again.
//
//	cfg := resync.DefaultConfig()
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Who goes on reading the log reads all of it; a replica gets what changed, each key once, where its position was trimmed or that is much less than the
// log has. Its figures: the time until it is current again, and what it received for that. What it holds in the end is compared with what was written.
package resync

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Updates int64         `json:"updates"` // that it sleeps through
	Changed int64         `json:"changed"` // keys among which they are
	Via     bootstrap.Via `json:"via"`
	Settle  bool          `json:"settle"` // wait before it wakes until the broker has nothing to do any more
}

// DefaultConfig is a million keys, of which 20,000 change in a million updates.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-resync", Partitions: 8},
		Updates: 1_000_000, Changed: 20_000}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Updates <= 0:
		return errors.New("updates are above zero")
	case c.Changed <= 0 || c.Changed > c.Keys:
		return fmt.Errorf("from 1 to %d keys change, not %d", c.Keys, c.Changed)
	case c.Via != bootstrap.ViaBest && c.Via != bootstrap.ViaKafka:
		return fmt.Errorf("via %q: kafka, or nothing", c.Via)
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload. A consumer whose state is not what was written fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "resync", c, c.Compacted(), func(topic *target.Created, r *result.Result) error { return c.on(ctx, t, topic, r, p) })
}

// on is the run on its topic.
func (c Config) on(ctx context.Context, t *target.Target, topic *target.Created, r *result.Result, p bench.Progress) (err error) {
	source, err := keyed.NewSource(t, c.Name, c.Shape, c.Producer)
	if err != nil {
		return err
	}
	defer source.Close()
	follower, done, err := c.follower(t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, follower.Close(), done()) }()

	p.Phase("every key once", c.Keys, "records")
	if err := source.Each(ctx, p.At); err != nil {
		return err
	}
	p.Phase("first copy", 0, "")
	if _, err := c.catchUp(ctx, topic, follower, source); err != nil {
		return fmt.Errorf("the first copy: %w", err)
	}
	if err := follower.Close(); err != nil {
		return err
	}
	p.Phase("asleep", c.Updates, "records")
	if err := c.goOn(ctx, t, source, p); err != nil {
		return err
	}
	if c.Settle {
		p.Phase("settle", 0, "")
		if _, _, err := t.Settle(ctx); err != nil {
			return err
		}
	}
	before := follower.Cost()
	meter, err := t.Meter()
	if err != nil {
		return err
	}
	p.Phase("awake", 0, "")
	took, err := c.catchUp(ctx, topic, follower, source)
	if err != nil {
		return err
	}
	cost := follower.Cost().Sub(before)
	if err := meter.Stop(); err != nil {
		return err
	}
	r.Add("resync", took.Seconds(), "s", result.Lower)
	r.Add("received", float64(cost.Bytes)/1e6, "MB", result.Lower)
	r.Add("records read", float64(cost.Records), "records", result.Lower)
	r.Add("broker CPU", meter.CPU().Seconds(), "s", result.Lower)
	return nil
}

// follower keeps its copy where it outlives the sleep. done removes it.
func (c Config) follower(t *target.Target) (f keyed.Follower, done func() error, err error) {
	if c.Via == bootstrap.ViaKafka || t.StateURL == "" {
		return keyed.NewConsumer(t, c.Name), func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "keyframe-resync-")
	if err != nil {
		return nil, nil, err
	}
	done = func() error { return os.RemoveAll(dir) }
	if f, err = keyed.NewReplica(t, c.Name, dir); err != nil {
		return nil, nil, errors.Join(err, done())
	}
	return f, done, nil
}

// catchUp makes the copy current, and compares it with what was written, which is not in the time that it took.
func (c Config) catchUp(ctx context.Context, topic *target.Created, f keyed.Follower, source *keyed.Source) (took time.Duration, err error) {
	ends, err := topic.Ends(ctx)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := f.CatchUp(ctx, ends); err != nil {
		return 0, err
	}
	took = time.Since(began)
	got, err := f.Digest()
	if want := source.Digest(); err == nil && got != want {
		err = fmt.Errorf("a state of %d rows is not the one of %d that was written", got.Count, want.Count)
	}
	return took, err
}

// goOn writes the updates. Where there are key frames two are cut: before the last of them, and behind, so that a log that keeps no raw delta longer
// than it must is trimmed above where the follower was.
func (c Config) goOn(ctx context.Context, t *target.Target, source *keyed.Source, p bench.Progress) error {
	if t.StateURL == "" {
		return source.UpdateSome(ctx, c.Updates, c.Changed, p.At)
	}
	behind := min(c.Updates, keyed.BehindCut)
	for _, n := range []int64{c.Updates - behind, behind} {
		if err := source.UpdateSome(ctx, n, c.Changed, p.At); err != nil {
			return err
		}
		if err := keyed.Cut(ctx, t, c.Name); err != nil {
			return err
		}
	}
	return nil
}
