package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/bench/githistory"
	"github.com/keyframelog/keyframe/client"
)

// smallRepo has a history of a few commits, with a deletion.
func smallRepo(t *testing.T, commits int) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		fixed := []string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgSign=false"}
		out, err := exec.Command("git", append(fixed, args...)...).CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}
	git("init", "-q", "-b", "main")
	for i := range commits {
		name := filepath.Join(dir, fmt.Sprintf("file%d", i%4))
		if i == 5 {
			require.NoError(t, os.Remove(name))
		} else {
			require.NoError(t, os.WriteFile(name, []byte(fmt.Sprint(i)), 0o644))
		}
		git("add", "-A")
		git("commit", "-q", "-m", fmt.Sprint(i))
	}
	return dir
}

func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	out, err := command(t, "", "demo", "--git", smallRepo(t, 14))
	require.NoError(t, err, out)
	require.Contains(t, out, "all equal")
	_, drilled, _ := strings.Cut(out, "\nfault drill: ")
	require.Regexp(t, `(?s)^.*\nlost .*\ndoubled .*\nmutated .*\nasleep .*x\n\nall equal, in \S+\n$`, drilled)
	require.NotContains(t, drilled, "NOT")
	require.Equal(t, 6, strings.Count(out, "replica that followed along"), "five commits on the way and the head:\n%s", out)
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The replica that follows along is compared when it is there, at the head as well: one that is behind is waited for.
func TestDemoWaitsForTheFollower(t *testing.T) {
	n, p := startBehindProxy(t)
	repo, err := githistory.Open(t.Context(), smallRepo(t, 2))
	require.NoError(t, err)
	d := &demo{out: io.Discard, repo: repo, kafka: n.kafka, state: n.state}
	require.NoError(t, d.createTopic(t.Context(), 2))
	p.withhold(kmsg.Fetch)
	follower, err := d.replica(t.Context(), client.FromEarliest, client.Memory())
	require.NoError(t, err)
	defer follower.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // waiting ends at once, and says that it waited
	n.run(t, "file0\tx\n", "produce", demoTopic)
	err = d.compareFollower(ctx, follower, stop{commit: repo.Head(), number: 2, offset: 1})
	require.ErrorContains(t, err, "is at 0, not yet at 1")
}

// An interruption is told by the exit status alone, whatever it breaks.
func TestInterruptedDemoIsQuiet(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	root := newRootCommand()
	root.SetOut(cancelAt{"broker", cancel})
	root.SetArgs([]string{"demo", "--git", smallRepo(t, 14)})
	require.Equal(t, context.Canceled, root.ExecuteContext(ctx))
}

// cancelAt cancels when a line begins with the word.
type cancelAt struct {
	word   string
	cancel context.CancelFunc
}

func (c cancelAt) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), c.word) {
		c.cancel()
	}
	return len(p), nil
}

// At each commit the copies stand in the order in which they were compared, however many rows there are.
func TestComparisonKeepsItsOrder(t *testing.T) {
	var c comparison
	var want []string
	for _, number := range []int{9, 1, 2, 3, 4, 5, 6, 7, 8} {
		for _, who := range []string{"follower", "plane", "consumer"} {
			c.lines = append(c.lines, []any{number, "id", 0, 0, who, "equal"})
			want = append(want, who)
		}
	}
	var out strings.Builder
	require.NoError(t, c.print(&out))
	var got []string
	for line := range strings.Lines(out.String()) {
		if fields := strings.Fields(line); len(fields) == 6 && fields[5] == "equal" {
			got = append(got, fields[4])
		}
	}
	require.Equal(t, want, got)
}
