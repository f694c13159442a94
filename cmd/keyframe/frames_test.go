package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
)

// An empty topic has no frame that a cut could be named after.
func TestNothingToCut(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "em", "--cleanup-policy", "compact")
	out := n.run(t, "", "frames", "cut", "em", "--format", "jsonl")
	require.Equal(t, "nothing to cut: topic em is empty\n", out)
	require.Contains(t, cutSummary("em", &state.CutResponse{}), "an open transaction holds back all")
}

// In JSON a frame says of which cut it is, as --at takes it, and whether that is consistent.
func TestCutInJSON(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, "a\t1\nb\t2\nc\t3\n", "produce", "users")
	for _, format := range []string{"json", "jsonl"} {
		out, err := n.try(t, "", "frames", "cut", "users", "--format", format)
		require.NoError(t, err)
		name := strings.TrimSpace(n.run(t, "", "frames", "cut", "users", "--name"))
		name = name[strings.LastIndex(name, "\n")+1:]
		require.Contains(t, out, `"name"`)
		require.Contains(t, out, name)
		require.Contains(t, out, `"consistent"`)
		n.run(t, "", "state", "scan", "users", "--at", name)
	}
	require.NotContains(t, n.run(t, "", "frames", "cut", "users"), "name")
}

// Times have the same width, whatever the millisecond.
func TestTimesHaveThreeDecimals(t *testing.T) {
	require.Equal(t, "2023-11-14T22:13:20.550Z", frameRow(&state.Frame{CutTimeMs: 1700000000550})[4])
	require.Equal(t, "2023-11-14T22:13:20.000Z", cell(timestamp(1700000000000)))

	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, `{"value":"v","timestamp":1700000000500}`, "produce", "t", "--input", "jsonl")
	require.Contains(t, n.run(t, "", "consume", "t", "--exit"), "\t2023-11-14T22:13:20.500Z\t")
}
