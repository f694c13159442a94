// Package drift is the workload of a replica that is lied to: so many replicas follow a topic, and on the way to one of them deltas are lost, doubled or
// changed, of one key and of many.
//
//	cfg := drift.DefaultConfig()
//	r, err := cfg.Run(ctx, t, bench.Silent)
//
// Its figures: how long after a key frame was asked for the difference was found, how long the repair took, its bytes and round trips, and how many times
// as much a whole key frame would have been. The faults are package drill's. A fault that is not found, not repaired, or repaired with other keys than it
// had harmed fails it, and so does a replica that was told the truth and is found different.
package drift

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/drill"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Config is the workload.
type Config struct {
	Prefix     string        `json:"topic"` // of the names of its topics
	Keys       int           `json:"keys"`  // of each topic
	ValueBytes int           `json:"value_bytes"`
	Replicas   int           `json:"replicas"` // of each topic, one of which is lied to
	Deltas     int           `json:"deltas"`   // between a fault and the key frame that finds it
	Faults     []drill.Fault `json:"faults"`
	Differing  []int         `json:"differing"` // keys that a fault harms, each time; ascending
	Dir        string        `json:"dir,omitempty"`
}

// DefaultConfig is 100,000 keys of 100 B, of which 1, 1,000 and 10,000 differ.
func DefaultConfig() Config {
	return Config{Prefix: "bench-drift-", Keys: 100_000, ValueBytes: 100, Replicas: 3, Deltas: 1000, Faults: Faults(), Differing: []int{1, 1000, 10_000}}
}

// Faults are those that can harm as many keys as one likes.
func Faults() []drill.Fault { return []drill.Fault{drill.Lost, drill.Doubled, drill.Mutated} }

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Prefix == "":
		return errors.New("the topics have no name")
	case len(c.Faults) == 0 || slices.ContainsFunc(c.Faults, func(f drill.Fault) bool { return !slices.Contains(Faults(), f) }):
		return fmt.Errorf("faults %v: there are %v", c.Faults, Faults())
	case len(c.Differing) == 0 || !slices.IsSorted(c.Differing) || c.Differing[0] < 1 || c.Differing[len(c.Differing)-1] > c.Keys/2:
		return fmt.Errorf("differing %v: from 1 to half of %d keys, ascending", c.Differing, c.Keys)
	}
	cfg := c.drill(drill.Broker{})
	return cfg.Validate()
}

func (c Config) drill(b drill.Broker) drill.Config {
	cfg := drill.DefaultConfig()
	cfg.Broker, cfg.Prefix, cfg.Faults, cfg.Dir = b, c.Prefix, c.Faults, c.Dir
	cfg.Keys, cfg.ValueBytes, cfg.Replicas, cfg.Deltas = c.Keys, c.ValueBytes, c.Replicas, c.Deltas
	return cfg
}

// Run implements bench.Workload.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (r *result.Result, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if t.StateURL == "" {
		return nil, fmt.Errorf("%s has no state plane: nothing there finds that a replica differs", t.Name)
	}
	r = result.New("drift", c)
	cfg := c.drill(drill.Broker{Kafka: t.Brokers[0], State: t.StateURL})
	var topics []string
	cfg.Started = func(s drill.Setup) { topics = s.Topics }
	p.Phase("fill", 0, "")
	d, err := drill.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	durability, err := t.Durability(ctx, topics[0])
	if err != nil {
		return nil, err
	}
	found, err := c.inject(ctx, d, p)
	if err != nil {
		return nil, err
	}
	p.Phase("compare all copies", 0, "")
	ends, err := d.Settle(ctx)
	if err != nil {
		return nil, err
	}
	for _, end := range ends {
		if len(end.Wrong) > 0 {
			return nil, fmt.Errorf("topic %s at %d: %s", end.Topic, end.Cut, strings.Join(end.Wrong, "; "))
		}
	}
	c.figures(r, found)
	return r.End(t.Describe(durability)), nil
}

// inject lets every fault happen with every number of keys. The findings are by fault, in the order of the numbers.
func (c Config) inject(ctx context.Context, d *drill.Drill, p bench.Progress) (map[drill.Fault][]drill.Finding, error) {
	found, done := map[drill.Fault][]drill.Finding{}, int64(0)
	p.Phase("faults", int64(len(c.Faults)*len(c.Differing)), "faults")
	for _, n := range c.Differing {
		for _, fault := range c.Faults {
			f, err := d.Inject(ctx, fault, n)
			if err == nil && !f.OK() {
				err = fmt.Errorf("%d keys: found: %t, repaired: %t, exactly these: %t (%d)", n, f.Detected, f.Repaired, f.Exact, f.Keys)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", fault, err)
			}
			found[fault] = append(found[fault], f)
			done++
			p.At(done)
		}
	}
	return found, nil
}

// measure is something that a finding tells.
type measure struct {
	name, unit string
	better     result.Better
	of         func(drill.Finding) float64
}

func measures() []measure {
	return []measure{
		{"detected", "ms", result.Lower, func(f drill.Finding) float64 { return f.AfterCut.Seconds() * 1000 }},
		{"repaired", "ms", result.Lower, func(f drill.Finding) float64 { return f.In.Seconds() * 1000 }},
		{"repair", "kB", result.Lower, func(f drill.Finding) float64 { return float64(f.Bytes) / 1e3 }},
		{"round trips", "", result.Lower, func(f drill.Finding) float64 { return float64(f.RoundTrips) }},
		{"whole frame to repair", "x", result.Higher, func(f drill.Finding) float64 { return f.Factor() }},
	}
}

// figures has the median over the faults for each number of keys, and a series over these for each fault. What a repair is about comes first: how much
// less than a whole frame it is where it is largest.
func (c Config) figures(r *result.Result, found map[drill.Fault][]drill.Finding) {
	all := measures()
	last := len(c.Differing) - 1
	median := func(m measure, i int) float64 {
		var v []float64
		for _, fault := range c.Faults {
			v = append(v, m.of(found[fault][i]))
		}
		return compare.SpreadOf(v).Median
	}
	frame := all[len(all)-1]
	r.Add(frame.name, median(frame, last), frame.unit, frame.better)
	for _, m := range all {
		for i, n := range c.Differing {
			r.Add(fmt.Sprintf("%s, %s differing", m.name, result.Count(int64(n))), median(m, i), m.unit, m.better)
		}
	}
	for _, m := range all[:3] {
		for _, fault := range c.Faults {
			s := result.Series{Name: string(fault), Plot: m.name + " against differing keys", XUnit: "differing keys", YUnit: m.unit}
			for i, n := range c.Differing {
				s.X, s.Y = append(s.X, float64(n)), append(s.Y, m.of(found[fault][i]))
			}
			r.Series = append(r.Series, s)
		}
	}
	whole := result.Series{Name: "whole frame of " + string(c.Faults[0]), Plot: all[2].name + " against differing keys", XUnit: "differing keys", YUnit: all[2].unit}
	for i, n := range c.Differing {
		whole.X, whole.Y = append(whole.X, float64(n)), append(whole.Y, float64(found[c.Faults[0]][i].WholeFrame)/1e3)
	}
	r.Series = append(r.Series, whole)
}
