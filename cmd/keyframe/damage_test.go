package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// damagedCopy keeps a copy of a topic of 5,000 rows in a directory, and returns the sstables that hold its rows and their index.
func damagedCopy(t *testing.T, n *node, dir string) (rows, index string) {
	t.Helper()
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	var lines strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&lines, "k%04d\tthe value of row %04d%0300d\n", i, i, 0)
	}
	n.run(t, lines.String(), "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	n.copyTo(t, "users", dir)
	for path, b := range contentsOf(t, filepath.Join(dir, "table")) {
		switch hasRows := strings.Contains(b, "the value of row"); {
		case filepath.Ext(path) != ".sst":
		case hasRows && strings.Contains(b, "the value of row 0007"):
			rows = path
		case !hasRows && len(b) > 100_000:
			index = path
		}
	}
	require.NotEmpty(t, rows)
	require.NotEmpty(t, index)
	return rows, index
}

// What verify and repair --dry-run say of a damaged directory is what repair and replica run do: whatever of it is damaged.
func TestVerifyAndRepairOfADamagedDirectory(t *testing.T) {
	n := startNode(t)
	whole := filepath.Join(t.TempDir(), "replica")
	rows, index := damagedCopy(t, n, whole)
	for name, c := range map[string]struct {
		damage        func(t *testing.T, table string)
		verify, dry   string
		repair, about string
	}{
		"footer": {
			damage: func(t *testing.T, table string) {
				overwrite(t, filepath.Join(table, filepath.Base(rows)), -53, make([]byte, 53))
			},
			verify: "is damaged: .*: a repair sets .*table aside", dry: "a repair loads a whole key frame of [1-9]\\d* bytes",
			repair: "set aside as .*table.damaged", about: "1 partition\\(s\\) of the copy were loaded anew",
		},
		"MANIFEST": {
			damage: func(t *testing.T, table string) {
				manifests, err := filepath.Glob(filepath.Join(table, "MANIFEST-*"))
				require.NoError(t, err)
				overwrite(t, manifests[0], 20, make([]byte, 20))
			},
			verify: "MANIFEST-\\d+ is damaged.*: a repair sets .*table aside", dry: "a repair loads a whole key frame of [1-9]\\d* bytes",
			repair: "set aside as .*table.damaged", about: "1 partition\\(s\\) of the copy were loaded anew",
		},
		"first block, of the index": {
			damage: func(t *testing.T, table string) {
				overwrite(t, filepath.Join(table, filepath.Base(index)), 20, make([]byte, 20))
			},
			verify: "block 0/\\d+: crc32c", dry: "a repair receives nothing: all rows can be read",
			repair: "repaired, local corruption: the index of the rows was made anew", about: "no key was changed in the copy",
		},
		"first block, of rows": {
			damage: func(t *testing.T, table string) { flipByte(t, table, "the value of row 0007") },
			verify: "block 0/\\d+: crc32c", dry: "a repair takes about \\d{5} bytes for \\d{2,3} keys by index",
			repair: "repaired, local corruption: \\d{2,3} keys by index, \\d{5} bytes in 1 round trip", about: "\\d+ new, 0 gone, 0 changed in the copy",
		},
		"rows": {
			damage: func(t *testing.T, table string) { flipByte(t, table, "the value of row 2500") },
			verify: "checksum mismatch", dry: "a repair takes about \\d{5} bytes for \\d{2,3} keys by index",
			repair: "repaired, local corruption: \\d{2,3} keys by index, \\d{5} bytes in 1 round trip", about: "\\d+ new, 0 gone, 0 changed in the copy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, by := range []string{"repair", "replica run"} {
				dir := filepath.Join(t.TempDir(), "replica")
				require.NoError(t, os.CopyFS(dir, os.DirFS(whole)))
				c.damage(t, filepath.Join(dir, "table"))
				before := contentsOf(t, dir)
				for said, args := range map[string][]string{c.verify: {"verify", "users"}, c.dry: {"repair", "users", "--dry-run"}} {
					out, err := n.try(t, "", append(args, "--dir", dir)...)
					require.Equal(t, 2, statusOf(err), out)
					require.Contains(t, out, "error: the stored rows are not what was applied")
					require.Regexp(t, said, out)
				}
				require.Equal(t, before, contentsOf(t, dir))
				args := []string{"repair", "users", "--dir", dir}
				if by == "replica run" {
					out, err := n.try(t, "", "replica", "run", "users", "--dir", dir, "--exit", "--on-drift", "report")
					require.Error(t, err, "what cannot be read is not equal: %s", out)
					args = []string{"replica", "run", "users", "--dir", dir, "--exit"}
				}
				out := n.run(t, "", args...)
				require.Contains(t, out, "corruption found")
				require.Regexp(t, c.repair, out)
				require.NotContains(t, out, "repair failed")
				if by == "repair" {
					require.Regexp(t, c.about, out)
				}
				require.Contains(t, n.run(t, "", "verify", "users", "--dir", dir), "partition 0 at 5000: equal, 5000 rows")
				require.NotContains(t, n.run(t, "", args...), "corruption")
			}
		})
	}
}

// overwrite changes bytes of a file; at < 0: from its end.
func overwrite(t *testing.T, path string, at int, with []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	if at < 0 {
		at += len(b)
	}
	copy(b[at:], with)
	require.NoError(t, os.WriteFile(path, b, 0o644))
}

// Where things are to be left as they are, a damaged directory is an error that says what would help.
func TestReplicaRunLeavesADamagedDirectory(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "replica")
	rows, _ := damagedCopy(t, n, dir)
	overwrite(t, rows, -53, make([]byte, 53))
	for _, policy := range []string{"report", "halt"} {
		out, err := n.try(t, "", "replica", "run", "users", "--dir", dir, "--exit", "--on-drift", policy)
		require.Error(t, err, out)
		require.ErrorContains(t, err, "is damaged")
		require.ErrorContains(t, err, "with --on-drift repair, the default, "+filepath.Join(dir, "table")+" is set aside")
	}
}
