package main

import (
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

// Times have the same width, whatever the millisecond.
func TestTimesHaveThreeDecimals(t *testing.T) {
	require.Equal(t, "2023-11-14T22:13:20.550Z", frameRow(&state.Frame{CutTimeMs: 1700000000550})[4])
	require.Equal(t, "2023-11-14T22:13:20.000Z", cell(timestamp(1700000000000)))

	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, `{"value":"v","timestamp":1700000000500}`, "produce", "t", "--input", "jsonl")
	require.Contains(t, n.run(t, "", "consume", "t", "--exit"), "\t2023-11-14T22:13:20.500Z\t")
}
