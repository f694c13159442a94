// Package scale runs a workload several times with more and more of something, and says how its figures grow: what need not grow with the state, the
// history or the number of partitions is to stay as it is.
//
//	w, err := scale.New("keys", []scale.Step{{10_000, small}, {100_000, middle}, {1_000_000, large}})
//	r, err := w.Run(ctx, t, bench.Silent)
//
// The result has the growth of each figure from the first step to the last, the figure at each step, and a series of it, which a report draws.
package scale

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Step is one run.
type Step struct {
	At       float64        `json:"at"`
	Workload bench.Workload `json:"config"`
}

// Config is a workload made of several runs of another.
type Config struct {
	Against string `json:"against"` // of what there is more and more
	Steps   []Step `json:"steps"`
}

// New refuses steps that tell nothing: fewer than two, or not ascending.
func New(against string, steps []Step) (Config, error) {
	c := Config{against, steps}
	if len(steps) < 2 || !slices.IsSortedFunc(steps, func(a, b Step) int {
		if a.At < b.At {
			return -1
		}
		return 1
	}) {
		return c, fmt.Errorf("against %s: two steps at least, ascending", against)
	}
	return c, nil
}

// StartedBy is the same with another broker, where the workload starts its brokers itself.
func (c Config) StartedBy(command launch.Command) bench.Workload {
	steps := slices.Clone(c.Steps)
	for i, s := range steps {
		if w, ok := s.Workload.(interface {
			StartedBy(launch.Command) bench.Workload
		}); ok {
			steps[i].Workload = w.StartedBy(command)
		}
	}
	return Config{c.Against, steps}
}

// Run implements bench.Workload. Figures that are neither better higher nor lower, and those that not all steps have, are left out.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	var runs []*result.Result
	for _, s := range c.Steps {
		r, err := s.Workload.Run(ctx, t, stepped{p, c.at(s) + ": "})
		if err != nil {
			return nil, fmt.Errorf("at %s: %w", c.at(s), err)
		}
		runs = append(runs, r)
	}
	first, last := runs[0], runs[len(runs)-1]
	out := result.New(last.Workload+" against "+c.Against, c)
	out.Began = first.Began
	var values []result.Series
	for _, f := range last.Figures {
		if s, ok := c.series(f, runs); ok && f.Better != "" {
			values = append(values, s)
			if s.Y[0] != 0 {
				out.Add("growth of "+f.Name, f.Value/s.Y[0], "x", f.Better)
			}
		}
	}
	for _, s := range values {
		f, _ := last.Figure(s.Name)
		for i, step := range c.Steps {
			out.Add(f.Name+" at "+c.at(step), s.Y[i], f.Unit, f.Better)
		}
		if f.Better == result.Lower && s.Y[0] != 0 {
			out.Series = append(out.Series, c.growth(s))
		}
	}
	for _, s := range values {
		s.Name += " against " + c.axis()
		out.Series = append(out.Series, s)
	}
	return out.End(last.Target), nil
}

// growth is a cost in times the first step's, to be drawn with the others.
func (c Config) growth(s result.Series) result.Series {
	g := result.Series{Name: s.Name, Plot: "cost against " + c.axis(), X: s.X, XUnit: s.XUnit, YUnit: "times the first step"}
	for _, y := range s.Y {
		g.Y = append(g.Y, y/s.Y[0])
	}
	return g
}

// axis is what there is more and more of, in words.
func (c Config) axis() string {
	switch c.Against {
	case "keys":
		return "state size"
	case "updates":
		return "history length"
	}
	return c.Against
}

// at is a step in words.
func (c Config) at(s Step) string {
	if n := int64(s.At); float64(n) == s.At {
		return c.Against + " " + result.Count(n)
	}
	return c.Against + " " + strconv.FormatFloat(s.At, 'g', -1, 64)
}

// series is one figure of all runs. ok: they have it.
func (c Config) series(f result.Figure, runs []*result.Result) (s result.Series, ok bool) {
	s = result.Series{Name: f.Name, XUnit: c.Against, YUnit: f.Unit}
	for i, r := range runs {
		f, ok := r.Figure(f.Name)
		if !ok || f.Unit != s.YUnit {
			return s, false
		}
		s.X, s.Y = append(s.X, c.Steps[i].At), append(s.Y, f.Value)
	}
	return s, true
}

// stepped says which step a phase belongs to.
type stepped struct {
	bench.Progress
	prefix string
}

func (s stepped) Phase(name string, total int64, unit string) {
	s.Progress.Phase(s.prefix+name, total, unit)
}
