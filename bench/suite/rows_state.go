package main

import (
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/foldload"
	"github.com/keyframelog/keyframe/bench/resync"
)

// trimmed keeps no raw delta longer than the next key frame needs.
func trimmed() map[string]string { return map[string]string{"keyframe.delta.retention.ms": "0"} }

// stateRows are those about states: a million keys of 100 B, and how often each was written.
func stateRows() []row {
	history := func(via bootstrap.Via, cut, settle bool, configs map[string]string) bootstrap.Config {
		cfg := bootstrap.DefaultConfig()
		cfg.Updates, cfg.Via, cfg.Cut, cfg.Settle, cfg.Configs = []int64{10_000_000, 30_000_000}, via, cut, settle, configs
		return cfg
	}
	const early, late = "bootstrap after 10M updates", "bootstrap after 30M updates"
	away := resync.DefaultConfig()
	away.Updates = 5_000_000
	trimmedAway := away
	trimmedAway.Configs, trimmedAway.Settle = trimmed(), true
	fold := foldload.DefaultConfig()
	fold.Updates = 10_000_000
	return []row{
		{
			name: "bootstrap", title: "bootstrap of 1 M keys of 100 B, verified, in memory; Kafka's default cleaner",
			ours: history("", true, false, nil), theirs: history("", false, false, nil),
			aims: []aim{{early, 15}, {late, 45}, {"received", 0}, {"growth of the time", 0}}, bounds: []bound{{late, 0.35}},
		},
		{
			name: "bootstrap-eager", title: "the same; Kafka's eager cleaner (16 MiB segments, ratio 0.01, 1 s backoff), which has settled", kafka: eager,
			ours: history("", true, false, nil), theirs: history("", false, true, nil),
			aims: []aim{{early, 2}, {late, 2}, {"while writing, broker CPU", 0}},
		},
		{
			name: "bootstrap-kafka-client", title: "the same with a Kafka consumer on both (ours: delta retention 0, after a cut, 1,000 updates and another); eager cleaner", kafka: eager,
			ours: history(bootstrap.ViaKafka, true, true, trimmed()), theirs: history("", false, true, nil),
			aims: []aim{{early, 1}, {late, 1}}, bounds: []bound{{"records read after 30M updates", 1.05e6}},
		},
		{
			name: "bootstrap-kafka-client-default", title: "the same with a Kafka consumer, both as they come",
			ours: history(bootstrap.ViaKafka, false, false, nil), theirs: history("", false, false, nil),
			aims: []aim{{early, 0}, {late, 0}, {"records read after 30M updates", 0}},
		},
		{
			name: "resync", title: "resync after 20 k of 1 M keys changed among 5 M updates (ours: delta retention 0); Kafka's default cleaner",
			ours: trimmedAway, theirs: away, aims: []aim{{"received", 20}, {"resync", 1}, {"records read", 0}},
		},
		{
			name: "fold", title: "keyed produce flat out, 1 M keys, 10 M updates, keyframer running; eager cleaner", kafka: eager,
			ours: fold, theirs: fold, aims: []aim{{"records", 1}, {"current after", 0}, {"broker CPU per record", 0}}, bounds: []bound{{"current after", 5}},
		},
	}
}
