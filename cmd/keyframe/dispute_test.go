package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// disputed makes two replicas of users say that bob is somebody else than the broker says, and returns a copy that says so too.
func (n *node) disputed(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\nbob\taway\n", "produce", "users")
	n.copyTo(t, "users", dir, mutate{"x"})
	for _, name := range []string{"wrong-1", "wrong-2"} {
		r := n.openReplica(t, name, kgo.WithHooks(mutate{"x"}))
		require.NoError(t, r.WaitFor(t.Context(), 0, 2))
	}
	n.run(t, "", "frames", "cut", "users")
	n.listed(t, "disputed")
	return dir
}

// What is said of a copy in a dispute is true: which keys differ, that a repair would be refused, and where it stands what there is to do; afterwards that
// it is made what the log has.
func TestTextsOfADispute(t *testing.T) {
	n := startNode(t)
	dir := n.disputed(t)
	promises := []string{"makes the copy what the log has", "without --dry-run it is made", "are made what the log has"}
	printed := func(disputed bool, status int, args ...string) string {
		t.Helper()
		out, err := n.try(t, "", args...)
		require.Equal(t, status, statusOf(err), out)
		if err != nil {
			out += err.Error()
		}
		promised := 0
		for _, p := range promises {
			promised += strings.Count(out, p)
		}
		if disputed {
			require.Zero(t, promised, out)
			require.Regexp(t, `(?m)^(~ bob  |partition 0 at 2: key "bob" differs: )0f6227e7e3eaa482 (->|here,) 93cfb2b2ea0178fe`, out)
		} else {
			require.Equal(t, 1, promised, out)
		}
		return out
	}
	verify, dryRun := []string{"verify", "users", "--dir", dir}, []string{"repair", "users", "--dir", dir, "--dry-run"}
	halt := []string{"replica", "run", "users", "--dir", dir, "--on-drift", "halt", "--exit"}
	require.Contains(t, printed(true, 1, verify...),
		"changed; a repair would be refused; what to do about a dispute is what keyframe replica list users says\n")
	require.Contains(t, printed(true, 1, dryRun...),
		"changed; nothing was changed: a repair would be refused; what to do about a dispute is what keyframe replica list users says\n")
	require.Contains(t, printed(true, 2, halt...), "Nothing is repaired from it until that is settled: keyframe replica list users says how")
	repair := printed(true, 1, "repair", "users", "--dir", dir)
	require.Contains(t, repair, "repair refused: ")
	require.Contains(t, repair, "0 new, 0 gone, 1 changed in the copy; where that is not said to be repaired, the copy is as it was\n")
	require.Contains(t, printed(true, 2, "replica", "run", "users", "--dir", dir, "--exit"), "repair refused: ")
	out, err := n.try(t, "", append(verify, "--json")...)
	require.Equal(t, 1, statusOf(err))
	require.Contains(t, out, `{"partition":0,"refused":"the broker has nothing to repair from: replicas agree with one another and not with it`)

	n.run(t, "", "replica", "settle", "users", "0")
	printed(false, 1, verify...)
	printed(false, 1, dryRun...)
	require.Contains(t, printed(false, 2, halt...), `key "bob" differs: `)
}

// A broker that is killed as soon as a dispute is told goes on with it, and an operator's word is carried out by replicas that run, on a topic that nobody
// writes to.
func TestADisputeOutlivesAKill(t *testing.T) {
	binary, data := filepath.Join(t.TempDir(), "keyframe"), filepath.Join(t.TempDir(), "data")
	build(t, binary)
	p := startProcess(t, binary, data)
	dir := (&node{kafka: p.Kafka, state: p.State}).disputed(t)
	p.Kill()

	p = startProcess(t, binary, data)
	defer p.Kill()
	n := &node{kafka: p.Kafka, state: p.State}
	require.Contains(t, n.run(t, "", "replica", "list", "users"),
		"partition 0 of users is disputed: wrong-1, wrong-2 agree with one another at 2 and not with the broker, so nothing is repaired from it.\n")
	_, err := n.try(t, "", "repair", "users", "--dir", dir)
	require.Equal(t, 1, statusOf(err))
	require.Equal(t, "partition 0 of users is repaired from again\n", n.run(t, "", "replica", "settle", "users", "0"))
	require.NotContains(t, n.run(t, "", "replica", "list", "users"), "disputed")
	require.Contains(t, n.run(t, "", "repair", "users", "--dir", dir), "repaired, logical drift: 1 key by sketch")
}
