package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/report"
)

// small are flags with which each workload takes a moment.
func small() map[string][]string {
	keyed := []string{"--keys", "200", "--value-bytes", "20", "--partitions", "2"}
	return map[string][]string{
		"produce":   {"--duration", "100ms", "--partitions", "2"},
		"consume":   {"--bytes", "1MiB", "--partitions", "2"},
		"latency":   {"--duration", "200ms", "--warmup", "0s", "--rate", "500", "--partitions", "2"},
		"many":      {"--duration", "100ms", "--partitions", "3"},
		"bootstrap": append(keyed, "--updates", "200,1000", "--consumers", "1", "--cut"),
		"resync":    append(keyed, "--updates", "1000", "--changed", "20"),
		"fold":      append(keyed, "--updates", "1000"),
		"drift":     {"--keys", "1000", "--deltas", "30", "--differing", "1,50", "--faults", "lost,doubled"},
		"soak":      append(keyed, "--rate", "500", "--duration", "400ms", "--interval", "200ms"),
		"footprint": {"--bytes", "1MiB", "--partitions", "2", "--starts", "1", "--idle", "1ms"},
	}
}

// TestMain: a workload that starts a broker starts this binary, which is one then.
func TestMain(m *testing.M) { os.Exit(benchtest.Main(m)) }

func TestEveryWorkloadRuns(t *testing.T) {
	n := startNode(t)
	require.Len(t, benchmarks(), len(small()))
	for _, b := range benchmarks() {
		t.Run(b.name, func(t *testing.T) {
			args := append([]string{"bench", b.name}, small()[b.name]...)
			out := n.run(t, "", args...)
			require.Contains(t, out, " on keyframe: Keyframe\nfsync before the acknowledgement\n")
			var found report.Data
			require.NoError(t, json.Unmarshal([]byte(n.run(t, "", append(args, "--format", "json", "--runs", "2")...)), &found))
			require.Len(t, found.Results, 2)
			require.Equal(t, b.name, found.Results[0].Workload)
			for _, f := range found.Results[0].Figures {
				require.Contains(t, out, f.Name, "the table has every figure")
			}
		})
	}
}

func TestCompare(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "report")
	peer := []string{"--peer", n.kafka, "--peer-name", "other", "--pairs", "2"}
	out := n.run(t, "", append(append([]string{"bench", "compare", "produce", "--report", dir}, small()["produce"]...), peer...)...)
	require.Contains(t, out, "produce, 2 pairs A B A B\nA  keyframe: Keyframe; fsync")
	require.NotContains(t, out, "UNLIKE")
	require.FileExists(t, filepath.Join(dir, "index.html"))
	require.FileExists(t, filepath.Join(dir, "data.json"))
	header := ""
	for line := range strings.Lines(out) {
		if strings.Contains(line, "A/B") {
			header = line
		}
	}
	require.Equal(t, []string{"KEYFRAME", "OTHER", "A/B", "MIN", "MAX", "PAIRS"}, strings.Fields(header))
}

// The same workload with more and more of something says how its figures grow; so do two brokers side by side.
func TestAgainst(t *testing.T) {
	n := startNode(t)
	out := n.run(t, "", append([]string{"bench", "fold", "--against", "updates=500,1000"}, small()["fold"]...)...)
	require.Contains(t, out, "fold against updates on keyframe")
	for _, figure := range []string{"growth of records ", "records at updates 500 ", "records at updates 1k "} {
		require.Contains(t, out, figure)
	}
	out = n.run(t, "", append([]string{"bench", "compare", "bootstrap", "--against", "updates=200,400", "--pairs", "1", "--peer", n.kafka}, small()["bootstrap"]...)...)
	require.Contains(t, out, "records read at updates 400 ")
}

// Of a workload that starts its brokers itself the other one is a command, too.
func TestCompareBrokersThatAreStarted(t *testing.T) {
	args := append([]string{"bench", "compare", "footprint", "--pairs", "1", "--peer-name", "other"}, small()["footprint"]...)
	out, err := command(t, "", append(args, "--peer-start", strings.Join(benchtest.Command(), " "))...)
	require.NoError(t, err, out)
	require.Contains(t, out, "footprint, 1 pairs A B A B\nA  keyframe: Keyframe; fsync")
	require.Contains(t, out, "\nB  other: Keyframe; fsync")
	_, err = command(t, "", args...)
	require.ErrorContains(t, err, "--peer-start is missing")
}

func TestWrongBenchFlags(t *testing.T) {
	n := startNode(t)
	for args, want := range map[string]string{
		"bench produc":                                        `did you mean "produce"?`,
		"bench compare produce":                               "--peer is missing",
		"bench footprint --start sleep":                       `"sleep", has no {dir} in it`,
		"bench drift --faults fire":                           "faults [fire]: there are [lost doubled mutated]",
		"bench drift --differing 1,60000":                     "from 1 to half of 100000 keys",
		"bench fold --against keys":                           "write NAME=VALUE",
		"bench fold --against topic=1,2":                      "no flag of the workload that has a number",
		"bench fold --against runs=1,2":                       "no flag of the workload that has a number",
		"bench fold --against keys=1,x":                       `"x" is no size`,
		"bench fold --against keys=2":                         "two steps at least",
		"bench footprint --brokers x":                         "unknown flag --brokers",
		"bench produce --runs 0":                              "--runs 0: one at least",
		"bench produce --acks 3":                              `acks "3": all, 1 or 0`,
		"bench produce --partitions 0":                        "partitions are above zero",
		"bench produce --topic-config x":                      "write NAME=VALUE",
		"bench produce --flush sometimes":                     `flush "sometimes": each or system`,
		"bench produce --format xml":                          "use table, json or jsonl",
		"bench bootstrap --updates 5":                         "ascending, and not fewer than the keys",
		"bench compare many --peer 127.0.0.1:1":               "127.0.0.1:1",
		"bench many --partitions 2 --clients 3":               "from 1 to 2 clients",
		"bench produce --compression brotli --runs 1":         `compression "brotli"`,
		"bench compare fold --peer " + n.kafka + " --pairs 0": "0 pairs",
	} {
		out, err := n.try(t, "", strings.Fields(args)...)
		require.Error(t, err, args)
		require.Contains(t, err.Error()+out, want, args)
	}
}
