package main

import (
	"context"
	"fmt"
)

// source is a run that figures come from.
type source struct {
	name    string
	measure func(context.Context) (measured, error)
	figures []figure
}

// here runs benchmarks of this package, once.
func here(pattern string, env ...string) func(context.Context) (measured, error) {
	return func(ctx context.Context) (measured, error) {
		return benchmarks(ctx, "bench/figures", "^Benchmark"+pattern+"$", "1x", env...)
	}
}

func sourceNames() (names []string) {
	for _, s := range sources(0) {
		names = append(names, s.name)
	}
	return names
}

func sources(deltas int64) []source {
	var repair, wake []figure
	for _, store := range []string{"memory", "dir"} {
		for i, b := range []figure{{bound: 4_000}, {bound: 200_000}, {bound: 2_000_000}} {
			keys := []int{1, 1_000, 10_000}[i]
			bench := fmt.Sprintf("Repair/store=%s/keys=%d", store, keys)
			what := fmt.Sprintf("repair of %s keys, %s", thousands(int64(keys)), store)
			trips := 0.0
			if keys == 1 {
				trips = 3
			}
			repair = append(repair,
				figure{what: what + ": bytes", bench: bench, unit: "bytes", bound: b.bound, whole: "frame-bytes"},
				figure{what: what + ": round trips", bench: bench, unit: "trips", bound: trips},
				figure{what: what + ": time", bench: bench, unit: "ms", whole: "frame-ms"})
		}
		bench := fmt.Sprintf("Wake/store=%s/keys=20000", store)
		what := "consolidated delta, 20,000 of 1 M keys, " + store
		wake = append(wake,
			figure{what: what + ": bytes", bench: bench, unit: "bytes", bound: 2_500_000, whole: "frame-bytes"},
			figure{what: what + ": time", bench: bench, unit: "ms", bound: 200, whole: "frame-ms"})
	}
	return []source{
		{"repair", here("Repair"), repair},
		{"wake", here("Wake"), wake},
		{"check", func(ctx context.Context) (measured, error) {
			return benchmarks(ctx, "client", "^BenchmarkInlineCheck$", "1000x")
		}, []figure{
			{what: "check at a cut, 1 M rows, memory", bench: "InlineCheck/memory", unit: "ns/check", bound: 20_000},
			{what: "check at a cut, 1 M rows, dir", bench: "InlineCheck/dir", unit: "ns/check", bound: 20_000},
		}},
		{"upkeep", upkeep, []figure{
			{what: "digest upkeep, table in memory", bench: "Upkeep/memory", unit: "%", bound: 30},
			{what: "digest upkeep, replica in memory", bench: "Upkeep/replica/memory", unit: "%", bound: 30},
			{what: "digest upkeep, table on disk", bench: "Upkeep/table", unit: "%", bound: 15},
			{what: "digest upkeep, replica on disk", bench: "Upkeep/replica/dir", unit: "%", bound: 15},
		}},
		{"alarm", here("NoFalseAlarm", fmt.Sprintf("KEYFRAME_BENCH_DELTAS=%d", deltas)), []figure{
			{what: "false alarms", bench: "NoFalseAlarm", unit: "alarms", none: true},
			{what: "  in so many deltas", bench: "NoFalseAlarm", unit: "deltas"},
			{what: "  restarts of broker and replicas", bench: "NoFalseAlarm", unit: "restarts"},
			{what: "  comparisons that said equal", bench: "NoFalseAlarm", unit: "equal"},
			{what: "  that could not be made", bench: "NoFalseAlarm", unit: "inconclusive"},
			{what: "  that failed, the broker being away", bench: "NoFalseAlarm", unit: "failed"},
		}},
		{"reconnect", here("Reconnect"), []figure{
			{what: "1,000 replicas find a killed broker: folds and cuts", bench: "Reconnect", unit: "folds", none: true},
			{what: "  950 have said where they stand, and are right", bench: "Reconnect", unit: "resumed-s", bound: 10},
			{what: "  50 that keep rows are compared", bench: "Reconnect", unit: "found-s", bound: 10},
			{what: "  all are verified at the next cut", bench: "Reconnect", unit: "verified-s", bound: 10},
			{what: "  memory of the broker for each", bench: "Reconnect", unit: "B/replica", bound: 128_000},
		}},
		{"reconcile", here("Reconcile"), []figure{
			{what: "source of 1 M rows that is equal: bytes", bench: "Reconcile/keys=0", unit: "bytes", bound: 1_000, whole: "frame-bytes"},
			{what: "  time, its rows read once", bench: "Reconcile/keys=0", unit: "ms", whole: "frame-ms"},
			{what: "  that lacks 1,000 keys in the log: bytes", bench: "Reconcile/keys=1000", unit: "bytes", bound: 200_000, whole: "frame-bytes"},
			{what: "  time, its rows read twice", bench: "Reconcile/keys=1000", unit: "ms", whole: "frame-ms"},
		}},
		{"scrub", func(ctx context.Context) (measured, error) {
			return benchmarks(ctx, "storage/memory", "^BenchmarkScrub$", "10x")
		}, []figure{{what: "scrub, 1 M rows in memory", bench: "Scrub", unit: "rows/cpu-s", bound: 2_000_000, least: true}}},
	}
}
