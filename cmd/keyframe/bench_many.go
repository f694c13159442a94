package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/many"
)

func manyBenchmark() benchmark {
	return benchmark{
		name:  "many",
		short: "One record in flight on each of many partitions",
		long: `Keeps one record in flight on every partition of a topic of its own: it is acknowledged, and the next is sent. That is what a broker has to make
durable for many small writers at once.`,
		example: `  keyframe bench many --partitions 1000
  keyframe bench compare many --peer localhost:19092 --flush each`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := many.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			flags.IntVar(&cfg.ValueBytes, "value-bytes", cfg.ValueBytes, "bytes of a value")
			flags.IntVar(&cfg.Clients, "clients", cfg.Clients, "clients that share the partitions, over connections of their own")
			flags.StringVar(&cfg.Acks, "acks", cfg.Acks, "acknowledgements to wait for: all, 1 or 0")
			flags.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long records are sent")
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: map[string][]string{"acks": producerWords()["acks"], "flush": producerWords()["flush"]},
	}
}
