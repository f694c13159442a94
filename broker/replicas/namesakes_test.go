package replicas_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/replicas"
	api "github.com/keyframelog/keyframe/proto/state"
)

func (g *rig) reportAs(name, instance string, partitions ...*api.ReplicaPartition) *api.ReportResponse {
	g.t.Helper()
	answer, err := g.Report(files, &api.ReportRequest{Replica: name, Instance: []byte(instance), Host: "host pid 1", Partitions: partitions})
	require.NoError(g.t, err)
	return answer
}

func (g *rig) leave(name, instance string, partitions ...*api.ReplicaPartition) {
	g.t.Helper()
	_, err := g.Report(files, &api.ReportRequest{Replica: name, Instance: []byte(instance), Partitions: partitions, Leaving: true})
	require.NoError(g.t, err)
}

// processes are those that are listed, with how many each is said to be of and its position.
func (g *rig) processes() (out []string) {
	for _, x := range g.Replicas("") {
		out = append(out, fmt.Sprintf("%s %s of %d at %d", x.Replica, x.Instance, x.Processes, x.Partitions[0].Position))
	}
	return out
}

func (g *rig) warnings() int { return strings.Count(g.said.String(), "several processes") }

func (g *rig) sharedNames(want int) {
	g.t.Helper()
	require.NoError(g.t, testutil.GatherAndCompare(g.metrics, strings.NewReader(fmt.Sprintf(`
# HELP keyframe_replicas_shared_names Names that several processes report under: copies of one directory, or one name given twice; see the log.
# TYPE keyframe_replicas_shared_names gauge
keyframe_replicas_shared_names{topic="files"} %d
`, want)), "keyframe_replicas_shared_names"))
}

// Processes of one name are known as soon as the first reports again: each is listed for itself, and it is said, once.
func TestProcessesOfOneName(t *testing.T) {
	g := newRig(t, nil)
	g.reportAs("a", "x", state(100))
	g.reportAs("a", "y", state(200))
	g.reportAs("b", "z", state(300))
	require.Equal(t, []string{"a y of 1 at 200", "b z of 1 at 300"}, g.processes(), "it may have started again")
	g.sharedNames(0)
	for i := range int64(5) {
		g.reportAs("a", "x", state(110+i))
		require.Equal(t, 1, g.warnings())
		g.reportAs("a", "y", state(210+i))
		require.Equal(t, []string{fmt.Sprint("a x of 2 at ", 110+i), fmt.Sprint("a y of 2 at ", 210+i), "b z of 1 at 300"}, g.processes())
	}
	require.Contains(t, g.said.String(), `topic=files replica=a hosts="[host pid 1 host pid 1]"`)
	g.sharedNames(1)

	// A third one comes, and again it may be the last that has started again, until that reports.
	g.reportAs("a", "w", state(400))
	require.Equal(t, []string{"a w of 2 at 400", "a x of 2 at 114", "b z of 1 at 300"}, g.processes())
	g.reportAs("a", "y", state(220))
	require.Equal(t, []string{"a w of 3 at 400", "a x of 3 at 114", "a y of 3 at 220", "b z of 1 at 300"}, g.processes())

	g.leave("a", "w")
	g.leave("a", "w")
	g.leave("a", "unknown", state(1))
	require.Equal(t, []string{"a x of 2 at 114", "a y of 2 at 220", "b z of 1 at 300"}, g.processes())
	g.leave("a", "x")
	require.Equal(t, []string{"a y of 1 at 220", "b z of 1 at 300"}, g.processes())
	g.sharedNames(0)
	require.Equal(t, 1, g.warnings())
	g.leave("a", "y")
	g.leave("b", "z")
	require.Empty(t, g.processes())
	require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas_bytes Estimate of the memory of what is kept of reports.
# TYPE keyframe_replicas_bytes gauge
keyframe_replicas_bytes 0
`), "keyframe_replicas_bytes"))
}

// A process that starts again is one, whatever became of its former life, and however often: it is given its place, also where there is no other.
func TestAProcessStartsAgain(t *testing.T) {
	g := newRig(t, func(c *replicas.Config) { c.ReplicasMax = 1 })
	for i := range 100 {
		name := fmt.Sprint(i)
		g.reportAs("a", name, state(int64(i), drifted(200, sum(9, 9))))
		require.Equal(t, []string{fmt.Sprintf("a %d of 1 at %d", i, i)}, g.processes())
		g.now = g.now.Add(time.Duration(i%4) * 4 * time.Second)
		g.reportAs("a", name, state(int64(i), drifted(200, sum(9, 9))))
	}
	require.Zero(t, g.warnings())
	require.NoError(t, testutil.GatherAndCompare(g.metrics, strings.NewReader(`
# HELP keyframe_replicas_verdicts_total Comparisons that replicas reported, by outcome.
# TYPE keyframe_replicas_verdicts_total counter
keyframe_replicas_verdicts_total{outcome="drifted",partition="0",topic="files"} 1
keyframe_replicas_verdicts_total{outcome="equal",partition="0",topic="files"} 0
keyframe_replicas_verdicts_total{outcome="error",partition="0",topic="files"} 0
keyframe_replicas_verdicts_total{outcome="inconclusive",partition="0",topic="files"} 0
`), "keyframe_replicas_verdicts_total"), "what its former life had found is counted once")
}

// Of several processes one that is silent has ended, and one that starts again is one more for no longer. It is said again when it begins anew.
func TestOneOfSeveralEnds(t *testing.T) {
	g := newRig(t, nil)
	share := func() {
		g.reportAs("a", "x", state(1))
		g.reportAs("a", "y", state(2))
		g.reportAs("a", "x", state(3))
	}
	share()
	g.now = g.now.Add(10 * time.Second)
	g.reportAs("a", "y", state(4))
	require.Len(t, g.processes(), 2, "its report is not overdue")
	g.now = g.now.Add(time.Second)
	require.Equal(t, []string{"a y of 1 at 4"}, g.processes())
	g.now = g.now.Add(time.Minute)
	require.Equal(t, []string{"a y of 1 at 4"}, g.processes(), "silent as well, but none came later")
	share()
	require.Len(t, g.processes(), 2)
	require.Equal(t, 1, g.warnings(), "as before")
	g.now = g.now.Add(time.Minute)
	g.reportAs("a", "z", state(5))
	require.Equal(t, []string{"a z of 1 at 5"}, g.processes())
	g.reportAs("a", "x", state(6))
	require.Equal(t, []string{"a x of 1 at 6"}, g.processes(), "z may have been it, which has started again")
	for range 6 {
		g.now = g.now.Add(time.Minute)
		g.reportAs("a", "x", state(7))
	}
	share()
	require.Equal(t, 2, g.warnings())
}

// However many have one name, it is known; of each name so many are kept, and the first of them do not lose their places.
func TestManyProcessesOfOneName(t *testing.T) {
	g := newRig(t, nil)
	for round := range 3 {
		for i := range 100 {
			g.reportAs("a", fmt.Sprintf("%02d", i), state(int64(round)))
		}
	}
	require.Len(t, g.Replicas(""), 8)
	for i, x := range g.Replicas("")[:7] {
		require.Equal(t, fmt.Sprintf("%02d", i), string(x.Instance))
		require.EqualValues(t, 8, x.Processes)
	}
	require.Equal(t, 1, g.warnings())
	g.DropTopic(files.ID)
	require.Empty(t, g.processes())
}

// Clients that draw no instance are one process of a name, as they were.
func TestClientsWithoutAnInstance(t *testing.T) {
	g := newRig(t, nil)
	g.reportAs("a", "", state(1))
	g.reportAs("a", "x", state(2))
	g.reportAs("a", "", state(3))
	g.reportAs("a", "", state(4))
	require.Equal(t, []string{"a  of 2 at 4", "a x of 2 at 2"}, g.processes())
}

// Processes of one name that say the same against the broker are one witness. That another of them is equal proves nothing about the one that differed.
func TestProcessesOfOneNameAreOneWitness(t *testing.T) {
	g := newRig(t, nil)
	wrong := sum(9, 9)
	for range 2 {
		for _, instance := range []string{"x", "y", "z"} {
			require.Empty(t, g.reportAs("a", instance, state(300, drifted(200, wrong))).Disputed)
		}
	}
	require.Len(t, g.processes(), 3)
	g.reportAs("a", "w", state(300, equal(200)))
	g.reportAs("a", "z", state(300, drifted(200, wrong)))
	require.Len(t, g.processes(), 4)
	require.False(t, g.disputed())
	g.reportAs("b", "v", state(300, drifted(200, wrong)))
	require.True(t, g.disputed(), "of another name")
	require.Equal(t, []string{"a", "b"}, g.Disputes("files")[0].Replicas)
	g.reportAs("a", "w", state(300, equal(300)))
	require.True(t, g.disputed(), "it did not differ")
	g.reportAs("b", "v", state(300, equal(300)))
	require.False(t, g.disputed())
}

// What a process that was killed has claimed stands, also when it has started again, and goes when the name does.
func TestClaimsOutliveTheirProcess(t *testing.T) {
	for _, killed := range []bool{true, false} {
		g := newRig(t, nil)
		wrong := sum(9, 9)
		g.reportAs("a", "x", state(300, drifted(200, wrong)))
		if !killed {
			g.leave("a", "x")
		}
		g.reportAs("a", "y", state(300, equal(300)))
		g.reportAs("b", "z", state(300, drifted(200, wrong)))
		require.Equal(t, killed, g.disputed())
	}
}

// An operator's word is for all processes of a name.
func TestAllProcessesAreOverruled(t *testing.T) {
	g := newRig(t, nil)
	wrong := sum(9, 9)
	differ := func(cut int64) {
		for range 2 {
			g.reportAs("a", "x", state(1000, drifted(cut, wrong)))
			g.reportAs("a", "y", state(1000, drifted(cut, wrong)))
		}
		g.reportAs("b", "z", state(1000, drifted(cut, wrong)))
	}
	differ(200)
	require.True(t, g.disputed())
	_, err := g.ClearDispute(files.ID, 0)
	require.NoError(t, err)
	differ(300)
	require.False(t, g.disputed())
}
