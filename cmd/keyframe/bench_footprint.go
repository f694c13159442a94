package main

import (
	"os"

	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
)

func footprintBenchmark() benchmark {
	return benchmark{
		name:  "footprint",
		short: "How long a broker takes to start, and what memory and disk it needs",
		long: `Starts a broker on empty directories, and measures how long that takes until it answers, its memory once it has had nothing to do for a while, and
after it was given data, the bytes on disk for each byte, and how long it takes to start again with them, also after kill -9.

It starts its brokers itself, in temporary directories: this program's "serve", or what --start says. In a command {dir} stands for the directory,
{port} for the port of the Kafka protocol and {port+1} for the next, which is free too; it is the broker, or starts one in the background and
ends. Time begins with the process that listens in the end, whatever a script does before it.`,
		example: `  keyframe bench footprint --bytes 1GiB
  keyframe bench compare footprint --peer-start 'bench/peers/kafka/kafka.sh up --port {port} --dir {dir}'`,
		starts: true,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := footprint.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			bytes, start := byteSize(cfg.Bytes), ""
			flags.Var(&bytes, "bytes", "bytes of keys and values that it is given")
			flags.IntVar(&cfg.Starts, "starts", cfg.Starts, "starts on an empty directory; the median counts")
			flags.DurationVar(&cfg.Idle, "idle", cfg.Idle, "how long it has had nothing to do when its memory is looked at")
			flags.StringVar(&cfg.Dir, "dir", "", "where the temporary directories are made (default: the system's)")
			flags.StringVar(&start, "start", "", "command that starts a broker, with {dir} and {port} in it (default: this program's serve)")
			return func() (bench.Workload, error) {
				cfg.Bytes, cfg.Start = int64(bytes), launch.Parse(start)
				if start == "" {
					self, err := os.Executable()
					if err != nil {
						return nil, err
					}
					cfg.Start = launch.Keyframe(self)
				}
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}
