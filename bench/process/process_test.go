package process

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A benchmark's own variables are no settings of the broker that it starts, which would refuse them.
func TestBrokerGetsNoVariablesOfOurs(t *testing.T) {
	t.Setenv("KEYFRAME_PEER", "127.0.0.1:9092")
	t.Setenv("KEYFRAMES", "another's")
	require.NotContains(t, Environ(), "KEYFRAME_PEER=127.0.0.1:9092")
	require.Contains(t, Environ(), "KEYFRAMES=another's")
}
