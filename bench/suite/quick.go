package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/consume"
	"github.com/keyframelog/keyframe/bench/foldload"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/latency"
	"github.com/keyframelog/keyframe/bench/many"
	"github.com/keyframelog/keyframe/bench/produce"
	"github.com/keyframelog/keyframe/bench/report"
	"github.com/keyframelog/keyframe/bench/resync"
	"github.com/keyframelog/keyframe/bench/scale"
)

// A quick run has this part of the data and as little time, to see that a row runs.
const (
	quickPart     = 100
	quickDuration = 2 * time.Second
)

// quick makes a row a small one. Its figures are told, and held to nothing.
func (r row) quick() row {
	r.ours, r.theirs = quickly(r.ours), quickly(r.theirs)
	return r
}

func quickly(w bench.Workload) bench.Workload {
	switch w := w.(type) {
	case produce.Config:
		w.Duration = quickDuration
		return w
	case many.Config:
		w.Duration = quickDuration
		return w
	case latency.Config:
		w.Warmup, w.Duration, w.Disk = 0, quickDuration, min(w.Disk, quickDuration)
		return w
	case consume.Config:
		w.Bytes /= quickPart
		return w
	case bootstrap.Config:
		w.Keys, w.Consumers = w.Keys/quickPart, 1
		var updates []int64
		for _, n := range w.Updates {
			updates = append(updates, n/quickPart)
		}
		w.Updates = updates
		return w
	case resync.Config:
		w.Keys, w.Updates, w.Changed = w.Keys/quickPart, w.Updates/quickPart, w.Changed/quickPart
		return w
	case foldload.Config:
		w.Keys, w.Updates = w.Keys/quickPart, w.Updates/quickPart
		return w
	case footprint.Config:
		w.Starts, w.Idle, w.Bytes = 1, time.Second, w.Bytes/quickPart
		return w
	case scale.Config:
		out := scale.Config{Against: w.Against}
		for _, s := range w.Steps {
			out.Steps = append(out.Steps, scale.Step{At: s.At / quickPart, Workload: quickly(s.Workload)})
		}
		return out
	}
	return w // a program of its own
}

// printQuick tells every figure.
func printQuick(to io.Writer, r row, c *compare.Comparison) {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "%s, a %dth of it\t%s\t%s\ttimes better\n", r.name, quickPart, c.A.Name, c.B.Name)
	for _, f := range c.Figures {
		fmt.Fprintf(out, "  %s\t%s %s\t%s %s\t%s\n", f.Name, report.Quantity(f.A.Median), f.Unit, report.Quantity(f.B.Median), f.Unit, report.Ratio(f.Times().Median))
	}
	_ = out.Flush() // to the terminal
}
