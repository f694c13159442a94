package process

import (
	"os"
	"path/filepath"
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

// What a broker says when it does not start is in the error.
func TestStartTellsWhyItDidNot(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "broker")
	require.NoError(t, os.WriteFile(binary, []byte("#!/bin/sh\necho no room >&2\nexit 1\n"), 0o755))
	_, err := Start(t.Context(), binary, t.TempDir(), Options{})
	require.ErrorContains(t, err, "no room")
}
