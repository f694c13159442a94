package githistory

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// newRepo makes a repository with additions, changes, deletions, a merge, a mode change and awkward names.
func newRepo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgSign=false"}, args...)...)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "git %v: %s", args, out)
	}
	write := func(name, text string) {
		t.Helper()
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	git("init", "-q", "-b", "main")
	write("a", "1")
	write("dir/b c\td\n\"e\"", "awkward name")
	write("dir/ü", "unicode")
	git("add", "-A")
	git("commit", "-q", "-m", "first\n\n:100644 looks like a change")
	git("commit", "-q", "--allow-empty", "-m", "no change at all")
	git("checkout", "-q", "-b", "side")
	write("side", "s")
	git("add", "-A")
	git("commit", "-q", "-m", "side")
	git("checkout", "-q", "main")
	write("a", "2")
	git("rm", "-q", "dir/ü")
	git("add", "-A")
	git("commit", "-q", "-m", "change and delete")
	git("merge", "-q", "--no-ff", "-m", "merge", "side")
	require.NoError(t, os.Chmod(filepath.Join(dir, "a"), 0o755))
	git("mv", "side", "moved")
	git("add", "-A")
	git("commit", "-q", "-m", "mode and rename")
	return dir
}

// The changes folded by path are Git's own tree, at every commit of the history.
func TestFoldedChangesEqualTheTree(t *testing.T) {
	dir := newRepo(t)
	repo, err := Open(t.Context(), dir)
	require.NoError(t, err)
	state := map[string]string{}
	commits, changes := 0, 0
	var last string
	for commit, err := range repo.Commits(t.Context()) {
		require.NoError(t, err)
		commits++
		for _, c := range commit.Changes {
			changes++
			if c.Deleted {
				require.Nil(t, c.Value())
				delete(state, c.Path)
				continue
			}
			state[c.Path] = string(c.Value())
		}
		tree, err := repo.Tree(t.Context(), commit.ID)
		require.NoError(t, err)
		require.Equal(t, tree, state, "at commit %d", commits)
		last = commit.ID
	}
	count, err := repo.Count(t.Context())
	require.NoError(t, err)
	require.Equal(t, count, commits)
	require.Equal(t, 5, commits) // the side branch's own commit is part of the merge
	require.Equal(t, 3+0+2+1+3, changes)
	require.Equal(t, repo.Head(), last)
	require.Contains(t, state, "dir/b c\td\n\"e\"")
}

func TestStoppingEarlyEndsGit(t *testing.T) {
	repo, err := Open(t.Context(), newRepo(t))
	require.NoError(t, err)
	seen := 0
	for _, err := range repo.Commits(t.Context()) {
		require.NoError(t, err)
		if seen++; seen == 2 {
			break
		}
	}
	require.Equal(t, 2, seen)
}

func TestNoRepository(t *testing.T) {
	_, err := Open(t.Context(), t.TempDir())
	require.ErrorIs(t, err, ErrNoHistory)
}

// An interruption is the context's error, not what it did to git.
func TestAnInterruptedHistorySaysSo(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	repo, err := Open(ctx, newRepo(t))
	require.NoError(t, err)
	var last error
	for _, err := range repo.Commits(ctx) {
		cancel() // while git runs, or has just ended
		last = err
	}
	require.Equal(t, context.Canceled, last)
}
