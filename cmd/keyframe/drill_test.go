package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/drill"
	"github.com/keyframelog/keyframe/client"
)

// smallDrill are the flags of a drill that takes little time.
func smallDrill(dir string, more ...string) []string {
	return append([]string{"--keys", "2000", "--deltas", "100", "--dir", dir}, more...)
}

// A drill prints a line for each fault and what it means, and ends with success where all was put right; it leaves nothing behind.
func TestDriftDrill(t *testing.T) {
	dir := t.TempDir()
	out, err := command(t, "", append([]string{"drill", "drift"}, smallDrill(dir)...)...)
	require.NoError(t, err, out)
	for _, fault := range drill.Faults() {
		line := lineThatBegins(t, out, string(fault)+" ")
		require.Regexp(t, `^\S+ +[\d,]+ +[\d,]+ +(key frame|checksum|handshake|reconcile) +\S+s +\S+s +[\d,]+ +[\d,]+ +[\d,]+ +[\d,.]+x$`, line)
		require.Contains(t, out, faultsTold()[fault].why)
	}
	require.Regexp(t, `rows +4 replicas and the producer's own state at [\d,]+ equal the log: 1,997 rows, digest [0-9a-f]{16}\n`, out)
	require.Regexp(t, `\nevery fault was found and put right, in \S+s\n$`, out)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// An interruption is told by the exit status alone, and leaves nothing behind.
func TestInterruptedDriftDrill(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	root := newRootCommand()
	root.SetOut(cancelAt{"broker", cancel})
	root.SetArgs(append([]string{"drill", "drift"}, smallDrill(dir)...))
	require.Equal(t, context.Canceled, root.ExecuteContext(ctx))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func lineThatBegins(t *testing.T, out, with string) string {
	t.Helper()
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, with) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	require.Fail(t, "no line begins with "+with, out)
	return ""
}

// Programs read the same in JSON.
func TestDriftDrillInJSON(t *testing.T) {
	out, err := command(t, "", append([]string{"drill", "drift"}, smallDrill(t.TempDir(), "--json", "--faults", "mutated,lost")...)...)
	require.NoError(t, err, out)
	require.Equal(t, 1, strings.Count(out, "\n"), out)
	var report struct {
		OK     bool
		Faults []struct {
			Fault, By, Method         string
			Detected, Repaired, Exact bool
			Injected, At, Keys, Bytes int64
			WholeFrame                int64 `json:"whole_frame_bytes"`
			After                     int64 `json:"after_us"`
			In                        int64 `json:"in_us"`
		}
		Topics []struct {
			Topic string
			Rows  int
			Equal bool
			Sum   string
		}
	}
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	require.True(t, report.OK)
	require.Len(t, report.Faults, 2)
	require.Equal(t, "lost", report.Faults[0].Fault, "in the order in which they happen")
	for _, f := range report.Faults {
		require.True(t, f.Detected && f.Repaired && f.Exact)
		require.EqualValues(t, 1, f.Keys)
		require.Equal(t, []string{"key frame", "sketch"}, []string{f.By, f.Method})
		require.Less(t, f.Injected, f.At)
		require.Less(t, f.Bytes, f.WholeFrame)
		require.Positive(t, min(f.After, f.In))
	}
	require.Len(t, report.Topics, 1, "no counter is harmed")
	require.True(t, report.Topics[0].Equal)
	require.Equal(t, 2000, report.Topics[0].Rows)
	require.Len(t, report.Topics[0].Sum, 64)
}

// Where replicas do not repair themselves the drill says so, and fails.
func TestDriftDrillFails(t *testing.T) {
	var out lockedBuffer
	cmd := newDriftDrillCommand(client.Report)
	cmd.Flags().String("config", "", "")
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(smallDrill(t.TempDir(), "--faults", "lost"))
	require.Equal(t, exitError(1), cmd.ExecuteContext(t.Context()), out.String())
	require.Regexp(t, `^lost +[\d,]+ +[\d,]+ +key frame +\S+s +NOT REPAIRED$`, lineThatBegins(t, out.String(), "lost "))
	require.Contains(t, out.String(), "DIFFERENT: a replica is drifted: it has 2000 rows, digest ")
	require.Contains(t, out.String(), "NOT ALL IS WELL")
}

func TestDriftDrillFlags(t *testing.T) {
	for want, args := range map[string][]string{
		`--faults "lots": did you mean "lost"?`:    {"--faults", "lots"},
		"--faults is empty: there are lost, lost-": {"--faults", ""},
		`--faults "fire": there are lost, lost-`:   {"--faults", "lost,fire"},
		"1 keys, want 100 to 10000000":             {"--keys", "1"},
		"1 deltas, want 30 to half":                {"--deltas", "1"},
		"values of 1 bytes, want":                  {"--value-bytes", "1"},
		"use table, json or jsonl":                 {"--format", "xml"},
	} {
		out, err := command(t, "", append([]string{"drill", "drift"}, args...)...)
		require.ErrorContains(t, err, want)
		require.NotContains(t, out, "broker", "before anything is started")
	}
}

func TestNumbersForEyes(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		require.Equal(t, want, grouped(n))
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 123456: "123µs", 1234567: "1.23ms", 12345678: "12.3ms", 123456789: "123ms", 1234567890: "1.23s", 12345678901: "12.3s",
	} {
		require.Equal(t, want, took(d))
	}
	require.Equal(t, "1.0x", factor(0.98))
	require.Equal(t, "3,170x", factor(3170.4))
}
