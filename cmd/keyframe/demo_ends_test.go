package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
)

// A demo that is ended from outside removes its directory all the same: nobody reads its output, or the terminal is gone.
func TestEndedDemoLeavesNothing(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "keyframe")
	build(t, binary)
	repo := smallRepo(t, 14)
	for name, x := range map[string]struct {
		end    func(d *heldDemo) error
		status int
	}{
		"output closed": {func(d *heldDemo) error { return errors.Join(d.output.Close(), os.WriteFile(d.release, nil, 0o644)) }, 141},
		"hangup":        {func(d *heldDemo) error { return d.cmd.Process.Signal(syscall.SIGHUP) }, 130},
	} {
		t.Run(name, func(t *testing.T) {
			d := startHeldDemo(t, binary, repo)
			left, err := os.ReadDir(d.temp)
			require.NoError(t, err)
			require.NotEmpty(t, left, "it is at work")

			require.NoError(t, x.end(d))
			var exit *exec.ExitError
			require.True(t, errors.As(d.cmd.Wait(), &exit))
			require.Equal(t, x.status, exit.ExitCode(), d.stderr.String())
			require.Empty(t, d.stderr.String())
			left, err = os.ReadDir(d.temp)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

// heldDemo is a demo in a process of its own that has a broker and waits for Git's answer.
type heldDemo struct {
	cmd     *exec.Cmd
	temp    string // its TMPDIR
	release string // git ls-tree answers when this file is there
	output  io.Closer
	stderr  bytes.Buffer
}

func startHeldDemo(t *testing.T, binary, repo string) *heldDemo {
	t.Helper()
	d := &heldDemo{temp: t.TempDir(), release: filepath.Join(t.TempDir(), "release")}
	git, err := exec.LookPath("git")
	require.NoError(t, err)
	bin := t.TempDir()
	script := fmt.Sprintf(`#!/bin/sh
case " $* " in *" ls-tree "*) until [ -e '%s' ]; do sleep 0.02; done ;; esac
exec '%s' "$@"
`, d.release, git)
	require.NoError(t, os.WriteFile(filepath.Join(bin, "git"), []byte(script), 0o755))
	d.cmd = exec.Command(binary, "demo", "--git", repo)
	d.cmd.Env = append(process.Environ(), "TMPDIR="+d.temp, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	d.cmd.Stderr = &d.stderr
	output, err := d.cmd.StdoutPipe()
	require.NoError(t, err)
	d.output = output
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // or the demo would inherit the nohup that this test may run under
	defer signal.Stop(hangups)
	require.NoError(t, d.cmd.Start())
	t.Cleanup(func() { _ = d.cmd.Process.Kill() }) // fails where it has ended
	lines := bufio.NewReader(output)
	for line := ""; !strings.HasPrefix(line, "broker"); {
		line, err = lines.ReadString('\n')
		require.NoError(t, err)
	}
	return d
}

// A history without a change of a file has nothing to fold.
func TestDemoNeedsChanges(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	repo := smallRepo(t, 0)
	commit := func(args ...string) {
		out, err := exec.Command("git", append([]string{"-C", repo, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgSign=false",
			"commit", "-q", "-m", "x"}, args...)...).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	commit("--allow-empty")
	out, err := command(t, "", "demo", "--git", repo)
	require.ErrorContains(t, err, "nothing to replay: 1 commit(s) of "+repo+" change no file")
	require.NotContains(t, out, "broker")

	// An empty beginning is no hindrance, unless --max-commits leaves nothing else.
	require.NoError(t, os.WriteFile(filepath.Join(repo, "file"), []byte("x"), 0o644))
	require.NoError(t, exec.Command("git", "-C", repo, "add", "-A").Run())
	commit()
	_, err = command(t, "", "demo", "--git", repo, "--max-commits", "1")
	require.ErrorContains(t, err, "nothing to replay")
	// Whatever time the committer's clock had.
	t.Setenv("GIT_COMMITTER_DATE", "@4102444800 +0000") // 2100
	commit("--allow-empty")
	require.NoError(t, os.WriteFile(filepath.Join(repo, "file"), []byte("y"), 0o644))
	commit("-a")
	out, err = command(t, "", "demo", "--git", repo)
	require.NoError(t, err, out)
	require.Contains(t, out, "all equal")
}
