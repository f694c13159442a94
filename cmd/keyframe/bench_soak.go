package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/soak"
)

func soakBenchmark() benchmark {
	return benchmark{
		name:  "soak",
		short: "Whether a broker stays as it is, over a long time",
		long: `Writes records of random keys at a rate for as long as is asked for, reads them as they come, and keeps the state that they amount to: as a replica
where there is a state plane, else in the consumer. At every interval it notes throughput, the 99th percentile end to end, how far the consumer and
the state are behind, and memory and disk of a broker on this machine. A record that is lost, comes twice or out of order, and a state that is not
that of the log, ends it with an error.`,
		example: `  keyframe bench soak --duration 12h --interval 1m --report soak
  keyframe bench compare soak --peer localhost:19092 --pairs 1`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := soak.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.Int64Var(&cfg.Rate, "rate", cfg.Rate, "records a second")
			flags.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long records are sent")
			flags.DurationVar(&cfg.Interval, "interval", cfg.Interval, "between two samples")
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}
