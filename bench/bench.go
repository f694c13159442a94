// Package bench is what all workloads have in common. A workload is a package below, with a Config and what it does as that's Run:
//
//	t, err := target.Open(ctx, target.Config{Brokers: addrs})
//	r, err := produce.DefaultConfig().Run(ctx, t, bench.Silent)
//	fmt.Println(r.Figures[0].Value, r.Figures[0].Unit)
//
// A workload talks to any broker of the Kafka protocol, and to the state plane of one that has it. It makes its topics for itself, and drops them. Its
// values are incompressible, so that a broker or a file system that compresses gains nothing by it.
//
// What a result says, and how, is package result's; how two are compared, compare's; how one is shown, report's.
package bench

import (
	"context"

	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Workload is a Config: it can be run against any target, as often as one likes.
type Workload interface {
	// Run measures. Errors: a config that makes no sense, and whatever keeps it from being done whole; half of a measurement is none.
	Run(ctx context.Context, t *target.Target, p Progress) (*result.Result, error)
}

// Progress is told how far a run is. Its methods may be called concurrently.
type Progress interface {
	// Phase begins another part of the run, of so many units; 0: it is not known how many.
	Phase(name string, total int64, unit string)
	// At says how many units of the phase are done.
	At(done int64)
}

// Silent is for who does not look.
var Silent Progress = silent{}

type silent struct{}

func (silent) Phase(string, int64, string) {}
func (silent) At(int64)                    {}
