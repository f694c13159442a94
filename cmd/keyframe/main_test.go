package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
)

// timeout(1) sends its signal twice within microseconds; the second one must not end the process before it has closed what it has open.
func TestASignalThatComesTwiceIsOne(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "keyframe")
	build(t, binary)
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	for range 5 {
		cmd := exec.CommandContext(t.Context(), binary, "replica", "run", "users", "--dir", filepath.Join(t.TempDir(), "replica"),
			"--brokers", n.kafka, "--state-url", n.state)
		cmd.Env = process.Environ()
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		for said := bufio.NewScanner(out); said.Scan() && !strings.HasPrefix(said.Text(), "topic:"); {
		}
		began := time.Now()
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		time.Sleep(time.Millisecond) // the first has been noticed, most often
		_ = cmd.Process.Signal(syscall.SIGTERM)
		repeated := time.Since(began) < repeatedWithin/2
		if err := cmd.Wait(); repeated { // else this machine was busy with something else, and they are two
			require.NoError(t, err)
		}
	}
}
