package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/consume"
)

func consumeBenchmark() benchmark {
	return benchmark{
		name:  "consume",
		short: "How fast a topic is read from its start",
		long: `Fills a topic of its own, waits until the broker has settled, and reads it from the start as fast as it comes: from memory, and with --cold
from disk as well, for which the page cache of this machine is dropped (root may do that).`,
		example: `  keyframe bench consume --bytes 4GiB
  keyframe bench compare consume --peer localhost:19092`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := consume.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			bytes := byteSize(cfg.Bytes)
			flags.Var(&bytes, "bytes", "bytes of keys and values that are read")
			flags.BoolVar(&cfg.Cold, "cold", false, "read from disk as well")
			return func() (bench.Workload, error) {
				cfg.Bytes = int64(bytes)
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}
