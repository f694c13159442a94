package main

import (
	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/foldload"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/resync"
	"github.com/keyframelog/keyframe/bench/scale"
)

// flat is how much a figure may grow, in times, while what it need not grow with becomes a hundred times as much.
const flat = 1.5

// steps runs a workload at 1x, 10x and 100x.
func steps(against string, from int64, at func(n int64) bench.Workload) scale.Config {
	c := scale.Config{Against: against}
	for range 3 {
		c.Steps = append(c.Steps, scale.Step{At: float64(from), Workload: at(from)})
		from *= 10
	}
	return c
}

// told are figures at every step, and how they grow.
func told(against string, from int64, figures ...string) (aims []aim) {
	for _, f := range figures {
		aims = append(aims, aim{"growth of " + f, 0})
		for _, n := range []int64{from, 10 * from, 100 * from} {
			aims = append(aims, aim{f + " at " + against + " " + result.Count(n), 0})
		}
	}
	return aims
}

// growthOf bounds the growth of figures that are to be flat.
func growthOf(figures ...string) (bounds []bound) {
	for _, f := range figures {
		bounds = append(bounds, bound{"growth of " + f, flat})
	}
	return bounds
}

// scaleRows are how figures grow with what there is more and more of.
func scaleRows() []row {
	history := bootstrap.DefaultConfig()
	history.Keys, history.Updates, history.Cut = 100_000, []int64{300_000, 3_000_000, 30_000_000}, true
	byKeys := func(n int64) bench.Workload {
		cfg := bootstrap.DefaultConfig()
		cfg.Keys, cfg.Updates, cfg.Cut = n, []int64{3_000_000}, true
		return cfg
	}
	fold := func(n int64) bench.Workload {
		cfg := foldload.DefaultConfig()
		cfg.Keys, cfg.Updates = n, 3_000_000
		return cfg
	}
	away := func(configs map[string]string) func(n int64) bench.Workload {
		return func(n int64) bench.Workload {
			cfg := resync.DefaultConfig()
			cfg.Updates, cfg.Configs, cfg.Settle = n, configs, configs != nil
			return cfg
		}
	}
	given := func(n int64) bench.Workload {
		cfg := footprint.DefaultConfig()
		cfg.Starts, cfg.Bytes = 1, n
		return cfg
	}
	return []row{
		{
			name: "scale-bootstrap-history", title: "bootstrap of 100 k keys after more and more updates; Kafka's default cleaner", ours: history, theirs: history,
			aims:   []aim{{"growth of the time", 0}, {"bootstrap after 300k updates", 0}, {"bootstrap after 3M updates", 0}, {"bootstrap after 30M updates", 0}},
			bounds: []bound{{"growth of the time", flat}},
		},
		{
			name: "scale-bootstrap-keys", title: "bootstrap of more and more keys after 3 M updates; Kafka's default cleaner",
			ours: steps("keys", 10_000, byKeys), theirs: steps("keys", 10_000, byKeys), aims: told("keys", 10_000, "bootstrap"),
		},
		{
			name: "scale-fold-keys", title: "keyed produce flat out of more and more keys, 3 M updates; eager cleaner", kafka: eager,
			ours: steps("keys", 10_000, fold), theirs: steps("keys", 10_000, fold), aims: told("keys", 10_000, "records", "broker CPU per record", "current after"),
		},
		{
			name: "scale-resync-updates", title: "resync after 20 k of 1 M keys changed among more and more updates (ours: delta retention 0); Kafka's default cleaner",
			ours: steps("updates", 200_000, away(trimmed())), theirs: steps("updates", 200_000, away(nil)),
			aims: told("updates", 200_000, "resync", "received"), bounds: growthOf("resync", "received"),
		},
		{
			name: "scale-footprint-bytes", title: "start, and memory, with more and more data of 1 KiB records", starts: true,
			ours: steps("bytes", 10_000_000, given), theirs: steps("bytes", 10_000_000, given),
			aims: told("bytes", 10_000_000, "start with data", "loaded RSS", "disk per byte"), bounds: growthOf("start with data"),
		},
	}
}

// startedIn is the workload, with brokers that a command starts in a directory.
func startedIn(w bench.Workload, dir string, command launch.Command) bench.Workload {
	switch w := w.(type) {
	case footprint.Config:
		w.Dir = dir
		return w.StartedBy(command)
	case scale.Config:
		out := scale.Config{Against: w.Against}
		for _, s := range w.Steps {
			out.Steps = append(out.Steps, scale.Step{At: s.At, Workload: startedIn(s.Workload, dir, command)})
		}
		return out
	}
	return w
}
