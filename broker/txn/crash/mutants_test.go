package crash

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mutants are brokers with a fault that the checker has to find: source files with something replaced.
var mutants = map[string]struct {
	file, from, to string
	want           []string // one of these kinds
}{
	"the marker of one partition only": {
		file: "broker/txn/write.go",
		from: "	a, err := l.Store.AppendMarkers(partitions,",
		to:   "	if len(partitions) > 1 {\n		partitions = partitions[:1]\n	}\n	a, err := l.Store.AppendMarkers(partitions,",
		want: []string{"lost", "torn", "hangs"},
	},
	"an abort commits": {
		file: "broker/txn/write.go",
		from: "Commit: end.Commit, Bumped",
		to:   "Commit: true, Bumped",
		want: []string{"aborted"},
	},
	"partition by partition, and the state last": {
		file: "broker/txn/write.go",
		from: "	a, err := l.Store.AppendMarkers(partitions, log.Marker{ProducerID: end.Marker.ID, ProducerEpoch: end.Marker.Epoch, CoordinatorEpoch: l.Epoch,\n		Commit: end.Commit, Bumped: end.Bumped}, extra)",
		to: `	m := log.Marker{ProducerID: end.Marker.ID, ProducerEpoch: end.Marker.Epoch, CoordinatorEpoch: l.Epoch, Commit: end.Commit}
	for len(partitions) > 1 {
		a, err := l.Store.AppendMarkers(partitions[:1], m, nil)
		if err != nil {
			return err
		}
		<-a.Done()
		partitions = partitions[1:]
		time.Sleep(20 * time.Millisecond) // part of the fault: long enough for a reader to come between
	}
	a, err := l.Store.AppendMarkers(partitions, m, extra)`,
		want: []string{"torn"},
	},
	"a partition that comes in is not saved": {
		file: "broker/txn/add.go",
		from: "	x.saveJoined(now, began, x.partitions[before:], nil)",
		to:   "	if began {\n		x.saveJoined(now, began, x.partitions[before:], nil)\n	}",
		want: []string{"hangs", "lost", "torn"},
	},
}

// The checker finds what is wrong with a broker that is wrong. Unless KEYFRAME_TXN_MUTANTS asks for all of them it is shown one: each
// needs a broker to be built, and some make clients wait.
func TestCheckerBites(t *testing.T) {
	all := number(t, "KEYFRAME_TXN_MUTANTS", 0) > 0
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			faulty := overlay(t, m.file, m.from, m.to) // of each: a source file that has changed is noticed when it does
			if !all && name != "an abort commits" {
				return
			}
			n := startNode(t, build(t, t.TempDir(), faulty))
			h := listAppend(t, n, 4, false, faults{lose: 0.05, delay: 0.1, late: 0.1})
			found := h.check()
			t.Log(strings.Join(found, "\n"))
			require.NotEmpty(t, found)
			caught := false
			for _, a := range found {
				for _, kind := range m.want {
					caught = caught || strings.HasPrefix(a, kind+":")
				}
			}
			require.True(t, caught, "want one of %v", m.want)
		})
	}
}

// overlay is a file for go build -overlay that replaces a part of one source file.
func overlay(t *testing.T, file, from, to string) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	path := filepath.Join(root, file)
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(source), from), "%s has changed: mend the mutant", file)
	mutant := strings.Replace(string(source), from, to, 1)
	if strings.Contains(to, "time.") && !strings.Contains(mutant, `"time"`) {
		mutant = strings.Replace(mutant, "import (\n", "import (\n	\"time\"\n", 1)
	}
	dir := t.TempDir()
	changed := filepath.Join(dir, filepath.Base(file))
	require.NoError(t, os.WriteFile(changed, []byte(mutant), 0o644))
	text, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	require.NoError(t, err)
	out := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(out, text, 0o644))
	return out
}
