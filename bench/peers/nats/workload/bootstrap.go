package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/result"
)

// Bootstrap is the workload of a client that begins with nothing: how long until it holds all of the bucket.
type Bootstrap struct {
	Bucket
	load.Shape
	Updates   []int64 `json:"updates"`   // how many puts there were, in all, each time that it is measured; ascending
	Consumers int     `json:"consumers"` // that begin with nothing, each time and each way; the median counts
	Via       kv.Via  `json:"via"`
}

// DefaultBootstrap is a million keys, after a million puts and after five.
func DefaultBootstrap() Bootstrap {
	return Bootstrap{Bucket: Bucket{Name: "bench-bootstrap"}, Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Updates: []int64{1_000_000, 5_000_000}, Consumers: 3}
}

// Validate refuses what makes no sense.
func (c Bootstrap) Validate() error {
	switch {
	case c.Consumers <= 0 || c.Keys <= 0:
		return errors.New("consumers and keys are above zero")
	case len(c.Updates) == 0 || !slices.IsSorted(c.Updates) || c.Updates[0] < c.Keys:
		return fmt.Errorf("updates %v: ascending, and not fewer than the keys, each of which is put once at least", c.Updates)
	case !slices.Contains(kv.Vias(), c.Via):
		return fmt.Errorf("via %q: watch, consumer or nothing", c.Via)
	}
	return errors.Join(c.Bucket.Validate(), c.Shape.Validate())
}

// Run implements Workload. A client that does not hold what was put fails it.
func (c Bootstrap) Run(ctx context.Context, p Peer, progress bench.Progress) (*result.Result, error) {
	return c.run(ctx, p, "bootstrap", c, func(bucket *kv.Bucket, r *result.Result) error { return c.on(ctx, p, bucket, r, progress) })
}

// on is the run on its bucket.
func (c Bootstrap) on(ctx context.Context, p Peer, bucket *kv.Bucket, r *result.Result, progress bench.Progress) error {
	source, err := keyed.SourceTo(c.Shape, bucket.Fill(c.Publish))
	if err != nil {
		return err
	}
	meter, err := p.Target.Meter()
	if err != nil {
		return err
	}
	progress.Phase("every key once", c.Keys, "records")
	if err := source.Each(ctx, progress.At); err != nil {
		return err
	}
	var steps []bootstrap.Step
	var ways map[kv.Via]compare.Spread // of the last step
	for _, updates := range c.Updates {
		n := updates - source.Sent()
		progress.Phase("updates", n, "records")
		if err := source.Update(ctx, n, progress.At); err != nil {
			return err
		}
		if err := errors.Join(stored(ctx, bucket, source), meter.Stop()); err != nil {
			return err
		}
		var s bootstrap.Step
		if s, ways, err = c.measure(ctx, bucket, source, progress); err != nil {
			return fmt.Errorf("after %d updates: %w", updates, err)
		}
		s.Updates = updates
		steps = append(steps, s)
	}
	bootstrap.AddSteps(r, steps)
	for _, via := range c.Via.Each() {
		r.Add("by "+string(via), ways[via].Median, "s", result.Lower)
	}
	meter.AddAs(r, "while writing, ", c.Updates[len(c.Updates)-1]*c.RecordBytes())
	return nil
}

// measure has clients bootstrap, by each way in turn. s is of the way that was faster.
func (c Bootstrap) measure(ctx context.Context, bucket *kv.Bucket, source *keyed.Source, progress bench.Progress) (s bootstrap.Step, ways map[kv.Via]compare.Spread, err error) {
	ends, err := bucket.Ends(ctx)
	if err != nil {
		return s, nil, err
	}
	want, took, cost := source.Digest(), map[kv.Via][]float64{}, map[kv.Via]keyed.Cost{}
	progress.Phase("bootstrap", int64(c.Consumers), "consumers")
	for i := range c.Consumers {
		for _, via := range c.Via.Each() {
			f, began := bucket.Follow(via), time.Now()
			if err := f.CatchUp(ctx, ends); err != nil {
				return s, nil, fmt.Errorf("by %s: %w", via, err)
			}
			took[via] = append(took[via], time.Since(began).Seconds())
			if got, err := f.Digest(); err != nil || got != want {
				return s, nil, errors.Join(err, fmt.Errorf("by %s: a state of %d rows is not the one of %d that was put", via, got.Count, want.Count))
			}
			cost[via] = f.Cost()
		}
		progress.At(int64(i + 1))
	}
	ways = map[kv.Via]compare.Spread{}
	for _, via := range c.Via.Each() {
		ways[via] = compare.SpreadOf(took[via])
		if s.Took.Median == 0 || ways[via].Median < s.Took.Median {
			s.Took, s.Cost = ways[via], cost[via]
		}
	}
	return s, ways, nil
}
