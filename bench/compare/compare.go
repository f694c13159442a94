// Package compare runs a workload against two targets in turn, A B A B, and says how their figures relate, pair by pair.
//
//	c, err := compare.Run(ctx, compare.Side{ours, cfg}, compare.Side{peer, cfg}, 5, bench.Silent)
//	for _, f := range c.Figures { fmt.Println(f.Name, f.Ratio.Median, f.Ratio.Min, f.Ratio.Max) }
//
// Machines are noisy, and slow down and recover by minutes: the two runs of a pair stand next to each other in time, so their ratio says more than either
// number. A comparison of unlike durability says so.
package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Side is one of the two.
type Side struct {
	Target   *target.Target
	Workload bench.Workload
}

// Pair is a run of each, one after the other.
type Pair struct {
	A *result.Result `json:"a"`
	B *result.Result `json:"b"`
}

// Comparison is what came of it.
type Comparison struct {
	Schema   int           `json:"schema"`
	Workload string        `json:"workload"`
	A        result.Target `json:"a"`
	B        result.Target `json:"b"`
	Unlike   string        `json:"unlike,omitempty"` // why the two do not do the same: their durability differs
	Figures  []Figure      `json:"figures"`
	Pairs    []Pair        `json:"pairs"`
}

// Figure is one that both sides have.
type Figure struct {
	Name   string        `json:"name"`
	Unit   string        `json:"unit"`
	Better result.Better `json:"better,omitempty"`
	A      Spread        `json:"a"`
	B      Spread        `json:"b"`
	Ratio  Spread        `json:"ratio"`  // A to B
	Ratios []float64     `json:"ratios"` // of each pair
}

// Spread is what lies between the least and the most.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Run does so many pairs. Errors: those of the runs.
func Run(ctx context.Context, a, b Side, pairs int, p bench.Progress) (*Comparison, error) {
	if pairs <= 0 {
		return nil, fmt.Errorf("compare: %d pairs", pairs)
	}
	var done []Pair
	for i := range pairs {
		var pair Pair
		for _, side := range []struct {
			Side
			name string
			to   **result.Result
		}{{a, cmp.Or(a.Target.Name, "A"), &pair.A}, {b, cmp.Or(b.Target.Name, "B"), &pair.B}} {
			// What the run before left for the system to write is not this one's to pay.
			if err := probe.SyncAll(); err != nil && !errors.Is(err, probe.ErrUnsupported) {
				return nil, err
			}
			r, err := side.Workload.Run(ctx, side.Target, numbered{p, fmt.Sprintf("%d/%d %s: ", i+1, pairs, side.name)})
			if err != nil {
				return nil, fmt.Errorf("%s, pair %d: %w", side.name, i+1, err)
			}
			*side.to = r
		}
		done = append(done, pair)
	}
	return Of(done), nil
}

// numbered says whose phase it is.
type numbered struct {
	bench.Progress
	prefix string
}

func (n numbered) Phase(name string, total int64, unit string) {
	n.Progress.Phase(n.prefix+name, total, unit)
}

// Of compares the figures of pairs that were measured, one at least.
func Of(pairs []Pair) *Comparison {
	first := pairs[0]
	c := &Comparison{Schema: result.Schema, Workload: first.A.Workload, A: first.A.Target, B: first.B.Target, Pairs: pairs}
	if c.A.Durability != c.B.Durability {
		c.Unlike = fmt.Sprintf("unlike durability: %s: %s; %s: %s", c.A.Name, c.A.Durability, c.B.Name, c.B.Durability)
	}
	for _, f := range first.A.Figures {
		if figure, ok := c.figure(f); ok {
			c.Figures = append(c.Figures, figure)
		}
	}
	return c
}

// figure compares one. ok: all runs have it.
func (c *Comparison) figure(f result.Figure) (figure Figure, ok bool) {
	figure = Figure{Name: f.Name, Unit: f.Unit, Better: f.Better}
	var as, bs []float64
	for _, pair := range c.Pairs {
		a, inA := pair.A.Figure(f.Name)
		b, inB := pair.B.Figure(f.Name)
		if !inA || !inB || a.Unit != b.Unit {
			return figure, false
		}
		as, bs = append(as, a.Value), append(bs, b.Value)
		if b.Value != 0 {
			figure.Ratios = append(figure.Ratios, a.Value/b.Value)
		}
	}
	figure.A, figure.B, figure.Ratio = SpreadOf(as), SpreadOf(bs), SpreadOf(figure.Ratios)
	return figure, true
}

// SpreadOf is that of some numbers; of none it is zero. The median of an even number of them is the mean of the two in the middle.
func SpreadOf(v []float64) Spread {
	if len(v) == 0 {
		return Spread{}
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Min: v[0], Max: v[n-1]}
}

// Figure returns one by its name.
func (c *Comparison) Figure(name string) (Figure, bool) {
	for _, f := range c.Figures {
		if f.Name == name {
			return f, true
		}
	}
	return Figure{}, false
}

// Times is how many times better A is than B, where one way is better; below 1 it is worse. Else it is the ratio.
func (f Figure) Times() Spread {
	if f.Better != result.Lower {
		return f.Ratio
	}
	inverse := make([]float64, 0, len(f.Ratios))
	for _, r := range f.Ratios {
		if r != 0 {
			inverse = append(inverse, 1/r)
		}
	}
	return SpreadOf(inverse)
}
