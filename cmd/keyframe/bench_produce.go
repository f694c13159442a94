package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/produce"
	"github.com/keyframelog/keyframe/bench/target"
)

func produceBenchmark() benchmark {
	return benchmark{
		name:  "produce",
		short: "How fast records are written",
		long: `Writes records to a topic of its own as fast as they are acknowledged, or at a rate, and measures bytes and records a second, and what the
broker used for them. Values are incompressible.`,
		example: `  keyframe bench produce --value-bytes 100 --duration 10s
  keyframe bench compare produce --peer localhost:19092 --settle`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := produce.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.IntVar(&cfg.Producers, "producers", cfg.Producers, "clients that write, each over connections of its own")
			flags.Int64Var(&cfg.Rate, "rate", 0, "records a second of all producers; 0: as fast as they are acknowledged")
			flags.DurationVar(&cfg.Duration, "duration", cfg.Duration, "how long records are sent")
			flags.BoolVar(&cfg.Settle, "settle", false, "wait until the broker has settled, and tell what that makes of the throughput")
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}

// declareTopic adds the flags of the topic that a workload makes for itself. read takes up what --topic-config says, once flags were read.
func declareTopic(flags *pflag.FlagSet, topic *target.Topic) (read func() error) {
	flags.StringVar(&topic.Name, "topic", topic.Name, "topic that is made for it, and deleted afterwards")
	flags.Int32Var(&topic.Partitions, "partitions", topic.Partitions, "partitions of the topic")
	flags.StringVar((*string)(&topic.Flush), "flush", "", "durability that is asked for: each (fsync before each acknowledgement) or system (left to the system); default: as the broker does")
	var pairs []string
	flags.StringArrayVar(&pairs, "topic-config", nil, "config of the topic, NAME=VALUE (repeatable)")
	return func() error {
		topic.Configs = map[string]string{}
		for _, pair := range pairs {
			name, value, err := splitPair(pair, "--topic-config")
			if err != nil {
				return err
			}
			topic.Configs[name] = value
		}
		return nil
	}
}

func declareShape(flags *pflag.FlagSet, shape *load.Shape) {
	flags.IntVar(&shape.ValueBytes, "value-bytes", shape.ValueBytes, "bytes of a value")
	flags.Int64Var(&shape.Keys, "keys", shape.Keys, "distinct keys, of 16 bytes, in random order; 0: records have none")
}

func declareProducer(flags *pflag.FlagSet, p *load.Producer) {
	flags.StringVar(&p.Acks, "acks", p.Acks, "acknowledgements to wait for: all, 1 or 0")
	flags.StringVar(&p.Compression, "compression", p.Compression, "of batches: none, gzip, snappy, lz4 or zstd")
	flags.DurationVar(&p.Linger, "linger", p.Linger, "how long a batch waits for more records")
	flags.Int32Var(&p.BatchBytes, "batch-bytes", p.BatchBytes, "bytes of a batch at most")
}

// producerWords are the values of flags of workloads that write.
func producerWords() map[string][]string {
	var flushes []string
	for _, f := range target.Flushes()[1:] {
		flushes = append(flushes, string(f))
	}
	return map[string][]string{"acks": load.Acks(), "compression": load.Compressions(), "flush": flushes}
}
