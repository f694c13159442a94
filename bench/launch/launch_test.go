package launch_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/launch"
)

func TestMain(m *testing.M) { os.Exit(benchtest.Main(m)) }

// One that is the broker, and one that starts it in the background and ends: both are measured from where the broker began, found with their state
// plane, and ended.
func TestInFrontAndInTheBackground(t *testing.T) {
	script := filepath.Join(t.TempDir(), "up.sh")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n\"$@\" >/dev/null 2>&1 </dev/null &\n"), 0o755))
	for name, c := range map[string]launch.Command{"in front": benchtest.Command(), "in the background": append(launch.Command{script}, benchtest.Command()...)} {
		t.Run(name, func(t *testing.T) {
			before := time.Now()
			b, err := launch.Start(t.Context(), c, filepath.Join(t.TempDir(), "data"))
			require.NoError(t, err)
			require.Positive(t, b.Took)
			require.Less(t, b.Took, time.Since(before)+20*time.Millisecond, "a process tells its beginning to 10 ms")
			to, err := b.Open(t.Context())
			require.NoError(t, err)
			defer to.Close()
			require.Equal(t, "keyframe", to.Name)
			require.Equal(t, b.Process.PID, to.Process.PID)
			require.NoError(t, b.Stop())
			require.False(t, b.Process.Alive())
			require.ErrorContains(t, b.Stop(), "had ended")
		})
	}
}

func TestKill(t *testing.T) {
	b, err := launch.Start(t.Context(), benchtest.Command(), filepath.Join(t.TempDir(), "data"))
	require.NoError(t, err)
	b.Kill()
	require.False(t, b.Process.Alive())
	b.Kill()
}

func TestWhatDoesNotStart(t *testing.T) {
	for line, want := range map[string]string{
		"":                         "is empty",
		"broker --dir {dir}":       "no {port} in it",
		"broker --port {port}":     "no {dir} in it",
		"/nowhere/b {dir} {port}":  "no such file",
		"ls /nowhere {dir} {port}": "/nowhere", // what it printed
	} {
		_, err := launch.Start(t.Context(), launch.Parse(line), t.TempDir())
		require.ErrorContains(t, err, want, line)
	}
}
