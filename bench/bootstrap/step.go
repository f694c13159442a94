package bootstrap

import (
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/result"
)

// Step is what was measured after so many updates.
type Step struct {
	Updates int64
	Took    compare.Spread // s
	Cost    keyed.Cost     // of one consumer
}

// AddSteps adds the figures of one step or more, and how they grow. Those of the last come first: they are what the workload is about.
func AddSteps(r *result.Result, steps []Step) {
	times := result.Series{Name: "bootstrap time against history length", XUnit: "updates", YUnit: "s"}
	for _, s := range steps {
		times.X, times.Y = append(times.X, float64(s.Updates)), append(times.Y, s.Took.Median)
	}
	n := len(steps)
	last := steps[n-1]
	r.Add("bootstrap", last.Took.Median, "s", result.Lower)
	r.Add("records read", float64(last.Cost.Records), "records", result.Lower)
	r.Add("received", float64(last.Cost.Bytes)/1e6, "MB", result.Lower)
	r.Add("slowest", last.Took.Max, "s", result.Lower)
	if n > 1 {
		r.Add("growth of the time", times.Y[n-1]/times.Y[0], "x", result.Lower)
		for _, s := range steps {
			after := " after " + result.Count(s.Updates) + " updates"
			r.Add("bootstrap"+after, s.Took.Median, "s", result.Lower)
			r.Add("records read"+after, float64(s.Cost.Records), "records", result.Lower)
		}
	}
	r.Series = append(r.Series, times)
}
