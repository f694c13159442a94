package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/report"
	"github.com/keyframelog/keyframe/bench/target"
)

// newWorkloadCommand runs a workload against one broker.
func newWorkloadCommand(b benchmark) *cobra.Command {
	var (
		runs int
		dir  string
	)
	cmd := b.command(func(cmd *cobra.Command, c *config, w bench.Workload) error {
		if runs < 1 {
			return fmt.Errorf("--runs %d: one at least", runs)
		}
		return measured(cmd, c, dir, func(ctx context.Context, p bench.Progress) (found report.Data, err error) {
			t := footprint.Target("")
			if !b.starts {
				if t, err = openTarget(ctx, c, target.Config{}); err != nil {
					return found, err
				}
				defer t.Close()
			}
			for range runs {
				r, err := w.Run(ctx, t, p)
				if err != nil {
					return found, err
				}
				found.Results = append(found.Results, r)
			}
			return found, nil
		})
	})
	declareReport(cmd, &dir)
	cmd.Flags().IntVar(&runs, "runs", 1, "how often it is measured")
	return cmd
}

// startedBy is a workload that starts its brokers itself.
type startedBy interface {
	bench.Workload
	StartedBy(launch.Command) bench.Workload
}

// other is the broker that a workload is compared with.
type other struct {
	target.Config
	start string // of a workload that starts it
}

// newCompareWorkloadCommand runs a workload against two.
func newCompareWorkloadCommand(b benchmark) *cobra.Command {
	var (
		peer  other
		pairs int
		dir   string
	)
	b.example = ""
	cmd := b.command(func(cmd *cobra.Command, c *config, w bench.Workload) error {
		return measured(cmd, c, dir, func(ctx context.Context, p bench.Progress) (found report.Data, err error) {
			ours, theirs, done, err := peer.sides(ctx, c, b, w)
			if err != nil {
				return found, err
			}
			defer done()
			compared, err := compare.Run(ctx, ours, theirs, pairs, p)
			if err == nil {
				found.Comparisons = append(found.Comparisons, compared)
			}
			return found, err
		})
	})
	declareReport(cmd, &dir)
	if b.starts {
		cmd.Flags().StringVar(&peer.start, "peer-start", "", "command that starts the other broker, with {dir} and {port} in it")
	} else {
		cmd.Flags().StringSliceVar(&peer.Brokers, "peer", nil, "Kafka-protocol address of the other broker")
		cmd.Flags().StringVar(&peer.StateURL, "peer-state-url", "", "state plane of the other broker, if it has one")
	}
	cmd.Flags().StringVar(&peer.Name, "peer-name", "", "what the other broker is called (default: what it says)")
	cmd.Flags().IntVar(&pairs, "pairs", 5, "how often each is measured")
	return cmd
}

// sides are the two that are compared. done closes what was opened.
func (o other) sides(ctx context.Context, c *config, b benchmark, w bench.Workload) (ours, theirs compare.Side, done func(), err error) {
	if b.starts {
		if o.start == "" {
			return ours, theirs, nil, errors.New("--peer-start is missing: the command that starts the other broker")
		}
		ours, theirs = compare.Side{Target: footprint.Target(""), Workload: w}, compare.Side{Target: footprint.Target(o.Name), Workload: w.(startedBy).StartedBy(launch.Parse(o.start))}
		return ours, theirs, func() {}, nil
	}
	if len(o.Brokers) == 0 {
		return ours, theirs, nil, errors.New("--peer is missing: the address of the other broker")
	}
	own, err := openTarget(ctx, c, target.Config{})
	if err != nil {
		return ours, theirs, nil, err
	}
	peer, err := target.Open(ctx, o.Config)
	if err != nil {
		own.Close()
		return ours, theirs, nil, err
	}
	return compare.Side{Target: own, Workload: w}, compare.Side{Target: peer, Workload: w}, func() { own.Close(); peer.Close() }, nil
}

func declareReport(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "report", "", "directory for a report: one page that stands alone, plots and everything that was measured")
	must(cmd.MarkFlagDirname("report"))
}

// openTarget opens the broker of the settings, with its state plane if there is one: the default one counts where it answers and is not contradicted by
// other brokers than the default.
func openTarget(ctx context.Context, c *config, cfg target.Config) (*target.Target, error) {
	cfg.Brokers, cfg.StateURL = brokerList(c), c.str("state-url")
	if c.source("state-url") == "default" && (c.source("brokers") != "default" || !target.HasStatePlane(ctx, cfg.StateURL)) {
		cfg.StateURL = ""
	}
	return target.Open(ctx, cfg)
}
