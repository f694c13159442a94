package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/drift"
	"github.com/keyframelog/keyframe/bench/drill"
)

func driftBenchmark() benchmark {
	var names []string
	for _, f := range drift.Faults() {
		names = append(names, string(f))
	}
	return benchmark{
		name:  "drift",
		short: "How soon a replica that was lied to is found and repaired, and at what cost",
		long: `Has replicas follow topics of its own, and loses, doubles or changes deltas on the way to one of them, of one key and of many. It measures how long
after a key frame was asked for the difference was found, how long the repair took, and its bytes and round trips beside a whole key frame. The
medians are over the faults. The broker has to have a state plane. "keyframe drill drift" has more faults, on a broker of its own.`,
		example: `  keyframe bench drift --differing 1,1000,10000
  keyframe bench drift --against keys=20000,200000,2000000 --differing 1000`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg, faults := drift.DefaultConfig(), names
			flags.StringVar(&cfg.Prefix, "topic", cfg.Prefix, "what the names of its topics begin with, which are deleted afterwards")
			flags.IntVar(&cfg.Keys, "keys", cfg.Keys, "keys of a topic, of 16 bytes")
			flags.IntVar(&cfg.ValueBytes, "value-bytes", cfg.ValueBytes, "bytes of a value")
			flags.IntVar(&cfg.Replicas, "replicas", cfg.Replicas, "replicas of a topic, in memory, one of which is lied to")
			flags.IntVar(&cfg.Deltas, "deltas", cfg.Deltas, "deltas between a fault and the key frame that finds it")
			flags.IntSliceVar(&cfg.Differing, "differing", cfg.Differing, "keys that a fault harms, each time that it is measured")
			flags.StringSliceVar(&faults, "faults", faults, "which faults, separated by commas")
			flags.StringVar(&cfg.Dir, "dir", "", "where a temporary directory is made (default: the system's)")
			return func() (bench.Workload, error) {
				cfg.Faults = nil
				for _, name := range faults {
					cfg.Faults = append(cfg.Faults, drill.Fault(name))
				}
				return cfg, nil
			}
		},
		words: map[string][]string{"faults": names},
	}
}
