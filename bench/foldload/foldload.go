// Package foldload is the workload of folding: keyed records flat out into a topic whose state is kept, and how soon that state is current.
//
//	cfg := foldload.DefaultConfig()
//	cfg.Updates = 10_000_000
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Its figures: records a second while the state is kept beside, processor time for each, how long after the last acknowledgement everything was folded
// (of a broker that compacts: until it had nothing to do any more), how old the newest key frame was then, and how long the next one took to cut.
package foldload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Updates int64 `json:"updates"`
}

// DefaultConfig is two million updates of a million keys.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-fold", Partitions: 8}, Updates: 2_000_000}
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Updates <= 0 || c.Keys <= 0:
		return errors.New("updates and keys are above zero")
	}
	return errors.Join(c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	return t.Measure(ctx, "fold", c, c.Compacted(), func(topic *target.Created, r *result.Result) error { return c.on(ctx, t, topic, r, p) })
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
	p.Phase("updates", c.Updates, "records")
	rates := result.Sample(time.Second, func() float64 { return float64(source.Acked()) })
	began := time.Now()
	if err := source.Update(ctx, c.Updates, p.At); err != nil {
		return err
	}
	took := time.Since(began)
	series := rates.Rates("acknowledged", "records/s")
	r.Add("records", float64(c.Updates)/took.Seconds(), "records/s", result.Higher)
	p.Phase("until it is current", 0, "")
	if err := c.current(ctx, t, r, topic); err != nil {
		return err
	}
	if err := meter.Stop(); err != nil {
		return err
	}
	if t.Process != nil {
		r.Add("broker CPU per record", float64(meter.CPU().Microseconds())/float64(c.Updates), "us", result.Lower)
	}
	meter.Add(r, c.Updates*c.RecordBytes())
	r.Series = append(r.Series, series)
	return nil
}

// current waits until the state is that of the log's end.
func (c Config) current(ctx context.Context, t *target.Target, r *result.Result, topic *target.Created) error {
	if t.StateURL == "" {
		took, ok, err := t.Settle(ctx)
		if ok {
			r.Add("current after", took.Seconds(), "s", result.Lower)
		}
		return err
	}
	ends, err := topic.Ends(ctx)
	if err != nil {
		return err
	}
	plane, began := stateconnect.NewStateServiceClient(http.DefaultClient, t.StateURL), time.Now()
	frame, err := c.folded(ctx, plane, ends)
	if err != nil {
		return err
	}
	r.Add("current after", time.Since(began).Seconds(), "s", result.Lower)
	if frame != nil {
		r.Add("frame age", time.Since(time.UnixMilli(frame.CutTimeMs)).Seconds(), "s", result.Lower)
	}
	began = time.Now()
	if _, err := plane.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: c.Name})); err != nil {
		return err
	}
	r.Add("next frame cut in", time.Since(began).Seconds(), "s", result.Lower)
	return nil
}

// pollEvery is the grain of how soon a state is current: the state plane tells of key frames by itself, but not how far between them it is.
const pollEvery = 5 * time.Millisecond

// folded waits until every partition is folded up to its end, and returns the newest frame; nil: there is none.
func (c Config) folded(ctx context.Context, plane stateconnect.StateServiceClient, ends load.Ends) (newest *state.Frame, err error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		frames, behind, err := c.look(ctx, plane, ends)
		if err != nil {
			return nil, err
		}
		if behind == 0 {
			for _, f := range frames {
				if newest == nil || f.CutTimeMs > newest.CutTimeMs {
					newest = f
				}
			}
			return newest, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d records are not folded yet: %w", behind, ctx.Err())
		case <-tick.C:
		}
	}
}

func (c Config) look(ctx context.Context, plane stateconnect.StateServiceClient, ends load.Ends) (frames []*state.Frame, behind int64, err error) {
	stream, err := plane.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: c.Name}))
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	if !stream.Receive() {
		return nil, 0, errors.Join(errors.New("the state plane says nothing of the topic"), stream.Err())
	}
	for _, part := range stream.Msg().Partitions {
		behind += max(0, ends[part.Partition]-part.Position)
	}
	return stream.Msg().Frames, behind, nil
}
