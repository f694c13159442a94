package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A failed export leaves what was there: nothing, or the older file.
func TestAFailedExportLeavesNothing(t *testing.T) {
	n := startNode(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "e.frame")
	_, err := n.try(t, "", "state", "export", "nope", "--output", path)
	require.ErrorContains(t, err, "nope")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	n.run(t, "", "topic", "create", "e", "--cleanup-policy", "compact")
	n.run(t, "a\t1\n", "produce", "e")
	n.run(t, "", "state", "export", "e", "--output", path)
	_, err = n.try(t, "", "state", "export", "nope", "--output", path)
	require.Error(t, err)
	require.Equal(t, map[string]string{"a": "1"}, readFrame(t, path))

	n.run(t, "", "state", "export", "e", "--output", os.DevNull)
	info, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	require.False(t, info.Mode().IsRegular(), "a device is written, not replaced")
}
