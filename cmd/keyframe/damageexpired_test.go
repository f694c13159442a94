package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Rows that cannot be read leave a copy with the others that the log start has passed: of a damaged block those that are left are fetched, and nothing else,
// and the damage is told once.
func TestRepairOfDamageThatTheLogStartHasPassed(t *testing.T) {
	n := startNode(t)
	whole := filepath.Join(t.TempDir(), "replica")
	_, index := damagedCopy(t, n, whole)
	kafka, err := kgo.NewClient(kgo.SeedBrokers(n.kafka))
	require.NoError(t, err)
	defer kafka.Close()
	n.run(t, "", "topic", "alter", "users", "--cleanup-policy", "compact,delete")
	deleted, err := kadm.NewClient(kafka).DeleteRecords(t.Context(), kadm.Offsets{"users": {0: {Topic: "users", Partition: 0, At: 2500}}})
	require.NoError(t, err)
	require.NoError(t, deleted.Error())
	n.run(t, "", "frames", "cut", "users")
	row := func(text string) func(t *testing.T, table string) {
		return func(t *testing.T, table string) { flipByte(t, table, text) }
	}
	cases := map[string]struct {
		damage func(t *testing.T, table string)
		done   string
	}{
		"some rows of the block": {row("the value of row 2500"), "repaired, local corruption: \\d{2,3} keys by index, \\d{5} bytes in 1 round trip"},
		"all of them":            {row("the value of row 1000"), "equal"},
		"the index": {func(t *testing.T, table string) {
			overwrite(t, filepath.Join(table, filepath.Base(index)), 20, make([]byte, 20))
		}, "repaired, local corruption: the index of the rows was made anew"},
	}
	at := "partition 0 at 5000: equal, 2500 rows"
	for _, where := range []string{"at the copy's position", "above it"} {
		if where == "above it" {
			n.run(t, "later\t1\n", "produce", "users")
			n.run(t, "", "frames", "cut", "users")
			at = "partition 0 at 5001: equal, 2501 rows"
		}
		for name, c := range cases {
			for _, args := range [][]string{{"repair", "users"}, {"replica", "run", "users", "--exit"}} {
				t.Run(name+" "+where+" "+args[0], func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "replica")
					require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
					c.damage(t, filepath.Join(dir, "table"))
					args := append(args, "--dir", dir)
					out := n.run(t, "", args...)
					require.Equal(t, 1, strings.Count(out, "corruption found"), out)
					require.Regexp(t, c.done, out)
					require.NotContains(t, out, "bootstrapped")
					require.NotContains(t, out, "loaded")
					require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), at)
					require.NotContains(t, n.run(t, "", args...), "corruption")
				})
			}
		}
	}
}
