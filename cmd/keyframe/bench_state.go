package main

import (
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/foldload"
	"github.com/keyframelog/keyframe/bench/resync"
)

func bootstrapBenchmark() benchmark {
	return benchmark{
		name:  "bootstrap",
		short: "How long a consumer that begins with nothing takes to hold the state",
		long: `Writes every key of a topic once, then random ones, and measures how long a consumer that begins with nothing takes until it holds the state: by
key frames and verified where there is a state plane, else, or with --via kafka, by reading the topic into a map. What it holds is compared
with what was written. --updates 1000000,10000000 measures after each of these: a log that is read from its start takes longer each time.`,
		example: `  keyframe bench bootstrap --updates 1000000,10000000 --cut
  keyframe bench compare bootstrap --peer localhost:19092 --settle`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := bootstrap.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.Int64SliceVar(&cfg.Updates, "updates", cfg.Updates, "records that were written in all, each time that it is measured")
			flags.IntVar(&cfg.Consumers, "consumers", cfg.Consumers, "how many begin with nothing, each time; the median counts")
			flags.BoolVar(&cfg.Cut, "cut", false, "cut a key frame before it is measured, where there is a state plane")
			declareVia(flags, &cfg.Via, &cfg.Settle)
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: viaWords(),
	}
}

func resyncBenchmark() benchmark {
	return benchmark{
		name:  "resync",
		short: "What it costs a consumer that was away to hold the state again",
		long: `Has a consumer hold the state of a topic, writes many updates of few keys while it is away, and measures how long it takes and what it receives until
it holds the state again: a replica in a directory where there is a state plane, else, or with --via kafka, a consumer that reads on. What it
holds is compared with what was written.`,
		example: `  keyframe bench resync --updates 5000000 --changed 20000 --topic-config keyframe.delta.retention.ms=0
  keyframe bench compare resync --peer localhost:19092`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := resync.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.Int64Var(&cfg.Updates, "updates", cfg.Updates, "records that are written while it is away")
			flags.Int64Var(&cfg.Changed, "changed", cfg.Changed, "keys among which they are")
			declareVia(flags, &cfg.Via, &cfg.Settle)
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: viaWords(),
	}
}

func foldBenchmark() benchmark {
	return benchmark{
		name:  "fold",
		short: "How fast keyed records are folded, and how soon the state is current",
		long: `Writes random keys of a compacted topic as fast as they are acknowledged, and measures what that is while the state is kept beside, and how soon
after the last acknowledgement everything is folded. Of a broker without a state plane: until it has nothing to do any more.`,
		example: `  keyframe bench fold --updates 10000000
  keyframe bench compare fold --peer localhost:19092`,
		declare: func(flags *pflag.FlagSet) func() (bench.Workload, error) {
			cfg := foldload.DefaultConfig()
			topic := declareTopic(flags, &cfg.Topic)
			declareShape(flags, &cfg.Shape)
			declareProducer(flags, &cfg.Producer)
			flags.Int64Var(&cfg.Updates, "updates", cfg.Updates, "records that are written")
			return func() (bench.Workload, error) {
				err := topic()
				return cfg, err
			}
		},
		words: producerWords(),
	}
}

func declareVia(flags *pflag.FlagSet, via *bootstrap.Via, settle *bool) {
	flags.StringVar((*string)(via), "via", "", "kafka: as a Kafka client also where there is a state plane")
	flags.BoolVar(settle, "settle", false, "wait before it is measured until the broker has settled: until a log cleaner has nothing to do any more")
}

func viaWords() map[string][]string {
	words := producerWords()
	words["via"] = []string{string(bootstrap.ViaKafka)}
	return words
}
