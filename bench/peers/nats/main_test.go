package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/result"
)

// TestMain is the server's process as well: what is measured starts this binary.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A run starts a server, measures it, prints a result and leaves nothing.
func TestEveryWorkloadRuns(t *testing.T) {
	keyed := "--keys 300 --value-bytes 20 --updates "
	for args, first := range map[string]string{
		"produce --keys 300 --value-bytes 20 --duration 100ms":       "throughput",
		"bootstrap " + keyed + "300,1000 --consumers 1 --sync async": "bootstrap",
		"resync " + keyed + "1000 --changed 20 --publish async":      "resync",
	} {
		dir, out := t.TempDir(), &bytes.Buffer{}
		require.NoError(t, run(t.Context(), append(strings.Fields(args), "--dir", dir), nil, out, io.Discard), args)
		var r result.Result
		require.NoError(t, json.Unmarshal(out.Bytes(), &r), args)
		require.True(t, strings.HasPrefix(args, r.Workload), r.Workload)
		require.Equal(t, first, r.Figures[0].Name)
		require.Positive(t, r.Figures[0].Value)
		require.Regexp(t, `^NATS Server \d+\.\d+\.\d+, JetStream KV$`, r.Target.Software)
		require.Contains(t, r.Machine.Client, "nats.go v")
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// What the README of the benchmarks shows is what there is.
func TestTheCommandOfTheReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, command, ok := strings.Cut(string(text), "cd bench/peers/nats && go run . ")
	require.True(t, ok)
	command, _, _ = strings.Cut(command, "\n")
	out := &bytes.Buffer{}
	require.NoError(t, run(t.Context(), append(strings.Fields(command), "--dir", t.TempDir()), nil, out, io.Discard))
	require.Contains(t, out.String(), `"bootstrap after 100k updates"`)
}

func TestWrongArguments(t *testing.T) {
	for args, want := range map[string]string{
		"":                                      "produce, bootstrap or resync",
		"consume":                               `"consume"`,
		"produce now":                           `no "now"`,
		"produce --keys 0":                      "above zero",
		"produce --sync sometimes":              `sync "sometimes"`,
		"produce --publish slow":                `publish "slow"`,
		"produce --publish atomic --sync async": "not with sync async",
		"bootstrap --via x":                     `via "x"`,
		"bootstrap --updates 5,x":               `"x"`,
		"bootstrap --value-bytes 0":             "a value has",
		"bootstrap --updates 5":                 "ascending, and not fewer than the keys",
		"bootstrap --consumers 0":               "above zero",
		"resync --changed 2 --keys 1":           "from 1 to 1 keys change",
		"resync --updates 0":                    "above zero",
	} {
		require.ErrorContains(t, run(t.Context(), append(strings.Fields(args), flagsOf(t, args)...), nil, io.Discard, io.Discard), want, args)
	}
}

// flagsOf keeps the files of a run that gets as far as a server out of the system's directory.
func flagsOf(t *testing.T, args string) []string {
	if strings.Contains(args, "--") {
		return []string{"--dir", t.TempDir()}
	}
	return nil
}
