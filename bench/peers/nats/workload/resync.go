package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/result"
)

// Resync is the workload of a client that was away: it held all of the bucket, slept through many puts of few keys, and is to hold it again.
type Resync struct {
	Bucket
	load.Shape
	Updates int64  `json:"updates"` // that it sleeps through
	Changed int64  `json:"changed"` // keys among which they are
	Via     kv.Via `json:"via"`
}

// DefaultResync is a million keys, of which 20,000 change in a million puts.
func DefaultResync() Resync {
	return Resync{Bucket: Bucket{Name: "bench-resync"}, Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Updates: 1_000_000, Changed: 20_000}
}

// Validate refuses what makes no sense.
func (c Resync) Validate() error {
	switch {
	case c.Updates <= 0:
		return errors.New("updates are above zero")
	case c.Changed <= 0 || c.Changed > c.Keys:
		return fmt.Errorf("from 1 to %d keys change, not %d", c.Keys, c.Changed)
	case !slices.Contains(kv.Vias(), c.Via):
		return fmt.Errorf("via %q: watch, consumer or nothing", c.Via)
	}
	return errors.Join(c.Bucket.Validate(), c.Shape.Validate())
}

// Run implements Workload. A client that does not hold what was put fails it.
func (c Resync) Run(ctx context.Context, p Peer, progress bench.Progress) (*result.Result, error) {
	return c.run(ctx, p, "resync", c, func(bucket *kv.Bucket, r *result.Result) error { return c.on(ctx, p, bucket, r, progress) })
}

// on is the run on its bucket.
func (c Resync) on(ctx context.Context, p Peer, bucket *kv.Bucket, r *result.Result, progress bench.Progress) error {
	source, err := keyed.SourceTo(c.Shape, bucket.Fill(c.Publish))
	if err != nil {
		return err
	}
	progress.Phase("every key once", c.Keys, "records")
	if err := source.Each(ctx, progress.At); err != nil {
		return err
	}
	progress.Phase("first copy", 0, "")
	var clients []*asleep
	for _, via := range c.Via.Each() {
		a := &asleep{via: via, Follower: bucket.Follow(via)}
		if err := a.wake(ctx, p, bucket, source); err != nil {
			return fmt.Errorf("the first copy: %w", err)
		}
		clients = append(clients, a)
	}
	progress.Phase("asleep", c.Updates, "records")
	if err := source.UpdateSome(ctx, c.Updates, c.Changed, progress.At); err != nil {
		return err
	}
	if err := stored(ctx, bucket, source); err != nil {
		return err
	}
	progress.Phase("awake", 0, "")
	for _, a := range clients {
		if err := a.wake(ctx, p, bucket, source); err != nil {
			return err
		}
	}
	best := slices.MinFunc(clients, func(a, b *asleep) int { return int(a.took - b.took) })
	r.Add("resync", best.took.Seconds(), "s", result.Lower)
	r.Add("received", float64(best.cost.Bytes)/1e6, "MB", result.Lower)
	r.Add("records read", float64(best.cost.Records), "records", result.Lower)
	r.Add("broker CPU", best.cpu.Seconds(), "s", result.Lower)
	for _, a := range clients {
		r.Add("by "+string(a.via), a.took.Seconds(), "s", result.Lower)
	}
	return nil
}

// asleep is a client that wakes now and then.
type asleep struct {
	keyed.Follower
	via  kv.Via
	took time.Duration // of the last time that it woke
	cost keyed.Cost    // the same
	cpu  time.Duration // of the server
}

// wake makes the copy current, and compares it with what was put, which is not in the time that it took.
func (a *asleep) wake(ctx context.Context, p Peer, bucket *kv.Bucket, source *keyed.Source) error {
	ends, err := bucket.Ends(ctx)
	if err != nil {
		return err
	}
	meter, err := p.Target.Meter()
	if err != nil {
		return err
	}
	before, began := a.Cost(), time.Now()
	if err := a.CatchUp(ctx, ends); err != nil {
		return fmt.Errorf("by %s: %w", a.via, err)
	}
	a.took, a.cost = time.Since(began), a.Cost().Sub(before)
	if err := meter.Stop(); err != nil {
		return err
	}
	a.cpu = meter.CPU()
	if got, err := a.Digest(); err != nil || got != source.Digest() {
		return errors.Join(err, fmt.Errorf("by %s: a state of %d rows is not the one that was put", a.via, got.Count))
	}
	return nil
}
