package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
)

// benchmark is a workload as a command: its flags fill a config.
type benchmark struct {
	name, short, long, example string
	// declare adds the flags, and returns what they have made of the config once they were read.
	declare func(*pflag.FlagSet) func() (bench.Workload, error)
	words   map[string][]string // values of flags that take one of a few
	starts  bool                // it starts its brokers itself, and is a startedBy
}

// benchmarks are all workloads, in the order of the help.
func benchmarks() []benchmark {
	return []benchmark{produceBenchmark(), consumeBenchmark(), latencyBenchmark(), manyBenchmark(), bootstrapBenchmark(), resyncBenchmark(), foldBenchmark(),
		driftBenchmark(), footprintBenchmark(), soakBenchmark()}
}

func newBenchCommand() *cobra.Command {
	var commands, pairs []*cobra.Command
	for _, b := range benchmarks() {
		commands = append(commands, newWorkloadCommand(b))
		pairs = append(pairs, newCompareWorkloadCommand(b))
	}
	return group("bench", "Measure a broker, or two side by side", append(commands, group("compare", "Run a workload against two brokers in turn, A B A B", pairs...))...)
}

// command is what the two forms of a workload share.
func (b benchmark) command(run func(*cobra.Command, *config, bench.Workload) error) *cobra.Command {
	cmd := &cobra.Command{Use: b.name, Short: b.short, Long: b.long, Example: b.example, Args: arguments()}
	read, own := b.declare(cmd.Flags()), map[string]bool{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) { own[f.Name] = f.Value.Type() != "string" && f.Value.Type() != "bool" })
	declareAgainst(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		if err := checkFormat(c); err != nil {
			return err
		}
		w, err := readAgainst(cmd.Flags(), own, read)
		if err != nil {
			return err
		}
		return run(cmd, c, w)
	}
	for flag, words := range b.words {
		completeFlag(cmd, flag, words...)
	}
	if !b.starts {
		addSettings(cmd, "brokers", "state-url")
	}
	addSettings(cmd, "format")
	return cmd
}
