package soak

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
)

// arrived is how long records were on their way, in all and since the last sample.
type arrived struct {
	all *result.Histogram // of the receiver alone until it has ended

	mu    *sync.Mutex
	since *result.Histogram // guarded by mu
}

func newArrived() arrived {
	return arrived{result.NewHistogram(), &sync.Mutex{}, result.NewHistogram()}
}

func (a arrived) record(d time.Duration) {
	a.all.Record(d)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since.Record(d)
}

// p99 is that since it was asked for before, in ms. ok: something has come.
func (a arrived) p99() (ms float64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.since.Latency("")
	a.since.Reset()
	return l.P99, l.Count > 0
}

// samples are what was seen at the intervals.
type samples struct {
	dataDir string // "": the broker is elsewhere

	throughput, p99, lag, stateLag, rss, disk result.Series
}

func (s *samples) open(ctx context.Context, r *run) (err error) {
	over := func(name, unit string) result.Series { return result.Series{Name: name, XUnit: "s", YUnit: unit} }
	s.throughput, s.p99 = over("acknowledged", "records/s"), over("end to end p99", "ms")
	s.lag, s.stateLag = over("consumer lag", "records"), over("state lag", "records")
	s.lag.Plot, s.stateLag.Plot = "lag", "lag"
	s.rss, s.disk = over("broker RSS", "MB"), over("broker disk", "MB")
	if r.t.Process == nil {
		return nil
	}
	s.dataDir, err = r.t.DataDir(ctx)
	return err
}

// take takes a sample at every interval until all has come, and one in the end.
func (s *samples) take(ctx context.Context, r *run, received <-chan struct{}) error {
	tick := time.NewTicker(r.Interval)
	defer tick.Stop()
	for before := int64(0); ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-received:
			if len(s.throughput.X) > 0 && time.Since(r.began).Seconds()-s.throughput.X[len(s.throughput.X)-1] < r.Interval.Seconds()/2 {
				return nil // the last one is of just now
			}
			return s.sample(r, &before)
		}
		if err := s.sample(r, &before); err != nil {
			return err
		}
	}
}

func (s *samples) sample(r *run, before *int64) error {
	at, acked := time.Since(r.began).Seconds(), r.acked.Load()
	note := func(to *result.Series, v float64) { to.X, to.Y = append(to.X, at), append(to.Y, v) }
	last := 0.0
	if n := len(s.throughput.X); n > 0 {
		last = s.throughput.X[n-1]
	}
	note(&s.throughput, float64(acked-*before)/(at-last))
	*before = acked
	if ms, ok := r.arrived.p99(); ok {
		note(&s.p99, ms)
	}
	note(&s.lag, float64(max(0, acked-r.got.Load())))
	note(&s.stateLag, float64(max(0, acked-r.state.Applied())))
	if r.t.Process == nil {
		return nil
	}
	u, err := r.t.Process.Usage()
	if err != nil {
		return err
	}
	disk, err := probe.DiskBytes(s.dataDir)
	if err != nil {
		return err
	}
	note(&s.rss, float64(u.RSS)/1e6)
	note(&s.disk, float64(disk)/1e6)
	return nil
}

// add tells the worst of each, and what memory and disk have come to.
func (s *samples) add(r *result.Result) {
	if len(s.p99.Y) > 0 {
		r.Add("worst p99 of an interval", slices.Max(s.p99.Y), "ms", result.Lower)
	}
	r.Add("least records of an interval", slices.Min(s.throughput.Y), "records/s", result.Higher)
	r.Add("largest consumer lag", slices.Max(s.lag.Y), "records", result.Lower)
	r.Add("largest state lag", slices.Max(s.stateLag.Y), "records", result.Lower)
	for _, of := range []result.Series{s.rss, s.disk} {
		if n := len(of.Y); n > 0 {
			r.Add(of.Name+" in the middle", of.Y[n/2], "MB", result.Lower)
			r.Add(of.Name+" at the end", of.Y[n-1], "MB", result.Lower)
		}
	}
	for _, of := range []result.Series{s.throughput, s.p99, s.lag, s.stateLag, s.rss, s.disk} {
		if len(of.Y) > 0 {
			r.Series = append(r.Series, of)
		}
	}
}
