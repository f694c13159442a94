package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/latency"
)

func latencyBenchmark() benchmark {
	return benchmark{
		name:  "latency",
		short: "How long a record is on its way, at a rate",
		long: `Sends records at a rate, whatever becomes of those before, and measures how long each took from when it was due until a consumer had it, and
until it was acknowledged. A broker that holds up the sender is blamed for what was not sent meanwhile.`,
		example: `  keyframe bench latency --rate 100000
  keyframe bench compare latency --peer localhost:19092`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := latency.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.Int64Var(&cfg.Rate, "rate", cfg.Rate, "records a second")
			flags.DurationVar(&cfg.Warmup, "warmup", cfg.Warmup, "at the beginning, not counted")
			flags.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long records are sent and counted")
			flags.DurationVar(&cfg.Disk, "disk", cfg.Disk, "also measure what the disk below a broker of this machine takes for the same bytes, half before and half after")
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}
