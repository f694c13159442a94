package replicas_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	api "github.com/keyframelog/keyframe/proto/state"
)

func (g *rig) disputed() bool { return g.Disputed(files.ID, 0) }

func (g *rig) settle() bool {
	g.t.Helper()
	ended, err := g.ClearDispute(files.ID, 0)
	require.NoError(g.t, err)
	return ended
}

// Two replicas of different names that say the same against the broker stop repairs, loudly and with what to do; each answer says so.
func TestTwoReplicasDispute(t *testing.T) {
	g := newRig(t, nil)
	wrong := sum(9, 9)
	require.Empty(t, g.report("a", state(250, drifted(200, wrong))).Disputed)
	require.False(t, g.disputed())
	require.Equal(t, []int32{0}, g.report("b", state(200, drifted(200, wrong))).Disputed)
	require.True(t, g.disputed())
	require.False(t, g.Disputed(files.ID, 1))
	require.Equal(t, []int32{0}, g.report("a", state(260, drifted(200, wrong))).Disputed)
	require.Equal(t, []int32{0}, g.report("c", state(1000)).Disputed)

	require.Equal(t, 1, strings.Count(g.said.String(), "level=ERROR"), g.said.String())
	for _, want := range []string{"keyframe check", "keyframe replica settle", "topic=files", "partition=0", "cut=200", "[a b]"} {
		require.Contains(t, g.said.String(), want)
	}
	list := g.Disputes("files")
	require.Len(t, list, 1)
	require.Equal(t, "files 0 [a b] 200 9 2000000", fmt.Sprint(list[0].Topic, " ", list[0].Partition, " ", list[0].Replicas, " ", list[0].Point.Offset, " ",
		list[0].Point.Count, " ", list[0].SinceMs))
}

// What is no agreement against the broker.
func TestNoDispute(t *testing.T) {
	wrong := sum(9, 9)
	for name, x := range map[string]struct{ a, b func(*api.ReplicaPartition) }{
		"different sums":             {drifted(200, wrong), drifted(200, sum(9, 8))},
		"different counts":           {drifted(200, wrong), drifted(200, sum(8, 9))},
		"different cuts":             {drifted(200, wrong), drifted(300, wrong)},
		"the broker says the same":   {drifted(200, sum(10, 1)), drifted(200, sum(10, 1))},
		"another log start":          {both(drifted(200, wrong), start(5)), both(drifted(200, wrong), start(5))},
		"another log":                {both(drifted(200, wrong), anew), both(drifted(200, wrong), anew)},
		"from the future":            {drifted(1001, wrong), drifted(1001, wrong)},
		"one of them does not drift": {drifted(200, wrong), verdict(api.Outcome_OUTCOME_INCONCLUSIVE, 200, wrong)},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.report("a", state(300, x.a))
			g.report("b", state(300, x.b))
			require.False(t, g.disputed())
		})
	}
	t.Run("one name twice", func(t *testing.T) {
		g := newRig(t, nil)
		g.report("a", state(300, drifted(200, wrong)), state(300, drifted(200, wrong)))
		g.report("a", state(300, drifted(300, wrong)))
		g.report("a", state(300, drifted(200, wrong)))
		require.False(t, g.disputed())
		_, err := g.Report(files, &api.ReportRequest{Replica: "a", Leaving: true})
		require.NoError(t, err)
		g.report("b", state(300, drifted(200, wrong)))
		require.False(t, g.disputed(), "who has left says nothing any more")
	})
	t.Run("a cut whose frame is thinned", func(t *testing.T) {
		g := newRig(t, nil)
		g.report("a", state(300, drifted(250, wrong)))
		g.report("b", state(300, drifted(250, wrong)))
		require.True(t, g.disputed(), "the broker cannot say that they are wrong")
	})
}

func both(fs ...func(*api.ReplicaPartition)) func(*api.ReplicaPartition) {
	return func(x *api.ReplicaPartition) {
		for _, f := range fs {
			f(x)
		}
	}
}

func start(s int64) func(*api.ReplicaPartition) {
	return func(x *api.ReplicaPartition) { x.Compared.Start = s }
}
func anew(x *api.ReplicaPartition) { x.Incarnation[0] = 2 }

// Who has left, or has made too many other claims since, is no longer among those who agree: neither with who comes next, nor with itself when it is back.
func TestClaimsAreForgotten(t *testing.T) {
	wrong := sum(9, 9)
	leave := func(g *rig) {
		_, err := g.Report(files, &api.ReportRequest{Replica: "a", Leaving: true})
		require.NoError(t, err)
	}
	claimMore := func(g *rig) {
		for cut := int64(300); cut <= 600; cut += 100 {
			g.report("a", state(1000, drifted(cut, wrong)))
		}
	}
	for name, forget := range map[string]func(*rig){"it left": leave, "four more claims": claimMore, "equal later": func(g *rig) { g.report("a", state(1000, equal(700))) }} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.report("a", state(1000, drifted(200, wrong)))
			forget(g)
			g.report("a", state(1000, drifted(200, wrong)))
			require.False(t, g.disputed())
			forget(g)
			g.report("b", state(1000, drifted(200, wrong)))
			require.False(t, g.disputed())
			g.report("c", state(1000, drifted(200, wrong)))
			require.True(t, g.disputed())
		})
	}
}

// However many say the same, a dispute lists some of them; each of these can end it.
func TestDisputeOfMany(t *testing.T) {
	g := newRig(t, nil)
	for i := range 100 {
		g.report(fmt.Sprint("r", i), state(300, drifted(200, sum(9, 9))))
	}
	listed := g.Disputes("files")[0].Replicas
	require.Len(t, listed, 64)
	g.report(listed[63], state(300, equal(300)))
	require.False(t, g.disputed())
	g.report("r1", state(300, drifted(200, sum(9, 9))))
	g.report("r2", state(300, drifted(200, sum(9, 9))))
	require.False(t, g.disputed(), "it is settled")
}

// What a drift costs does not grow with how many have drifted before.
func BenchmarkDrift(b *testing.B) {
	for _, replicas := range []int{100, 10_000} {
		b.Run(fmt.Sprint(replicas), func(b *testing.B) {
			for b.Loop() {
				g := newRig(b, nil)
				for i := range replicas {
					g.report(fmt.Sprint("r", i), state(300, drifted(200, sum(9, 9))))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*replicas), "ns/report")
		})
	}
}

// A replica that repairs itself at once, before another has found the same, has said so nevertheless.
func TestRepairDoesNotHideADispute(t *testing.T) {
	g := newRig(t, nil)
	repaired := func(x *api.ReplicaPartition) { x.Repairs = 1 }
	g.report("a", state(200, drifted(200, sum(9, 9))), state(200, equal(200), repaired), state(300, equal(300), repaired))
	g.report("b", state(200, drifted(200, sum(9, 9))))
	require.True(t, g.disputed())
}

// A dispute ends when one of its replicas is equal at a later cut by itself, and not by taking over what the broker has.
func TestDisputeEndsByItself(t *testing.T) {
	for name, x := range map[string]struct {
		by   string
		set  func(*api.ReplicaPartition)
		ends bool
	}{
		"equal later":           {"a", equal(300), true},
		"equal at the same cut": {"a", equal(200), false},
		"repaired":              {"a", both(equal(300), func(x *api.ReplicaPartition) { x.Repairs++ }), false},
		"loaded a frame":        {"a", both(equal(300), func(x *api.ReplicaPartition) { x.Bootstraps++ }), false},
		"a stranger":            {"c", equal(300), false},
		"equal to nothing":      {"a", verdict(api.Outcome_OUTCOME_EQUAL, 300, sum(9, 9)), false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.report("a", state(300, drifted(200, sum(9, 9))))
			g.report("b", state(300, drifted(200, sum(9, 9))))
			g.report(x.by, state(300, x.set))
			require.Equal(t, !x.ends, g.disputed())
			if !x.ends {
				return
			}
			require.Contains(t, g.said.String(), "no longer disputed")
			g.report("b", state(310, drifted(200, sum(9, 9))))
			g.report("d", state(310, drifted(200, sum(9, 9))))
			require.False(t, g.disputed(), "what is settled is not begun again by what was said before")
			g.report("b", state(400, drifted(400, sum(7, 7))))
			g.report("d", state(400, drifted(400, sum(7, 7))))
			require.True(t, g.disputed())
		})
	}
	t.Run("another process under the same name", func(t *testing.T) {
		g := newRig(t, nil)
		g.report("a", state(300, drifted(200, sum(9, 9))))
		g.report("b", state(300, drifted(200, sum(9, 9))))
		_, err := g.Report(files, &api.ReportRequest{Replica: "a", Host: "host pid 2", Partitions: []*api.ReplicaPartition{state(300, equal(300))}})
		require.NoError(t, err)
		require.True(t, g.disputed())
	})
	t.Run("the log is created anew", func(t *testing.T) {
		g := newRig(t, nil)
		g.report("a", state(300, drifted(200, sum(9, 9))))
		g.report("b", state(300, drifted(200, sum(9, 9))))
		g.log.incarnation = [16]byte{2}
		g.report("a", state(300, both(drifted(200, sum(6, 6)), anew)))
		require.False(t, g.disputed())
	})
}

// A dispute is at the latest cut at which its replicas agree, and over up to there, wherever the one that is equal stands.
func TestDisputeMovesOn(t *testing.T) {
	g := newRig(t, nil)
	w200, w400 := sum(9, 9), sum(4, 4)
	for _, name := range []string{"a", "b"} {
		g.report(name, state(400, drifted(200, w200)))
	}
	for _, name := range []string{"b", "c"} {
		g.report(name, state(400, drifted(400, w400)))
	}
	require.EqualValues(t, 400, g.Disputes("")[0].Point.Offset)
	require.Equal(t, []string{"a", "b", "c"}, g.Disputes("")[0].Replicas)
	g.report("b", state(410, equal(300)))
	require.True(t, g.disputed(), "it has said since that it differs at 400")
	g.report("a", state(410, equal(300)))
	require.False(t, g.disputed())
	for _, name := range []string{"d", "e"} {
		g.report(name, state(410, drifted(400, w400)))
	}
	require.False(t, g.disputed(), "settled up to 400")
}

// Whoever an operator has overruled does not make a claim of another's one of two, wherever it was made.
func TestTheOverruledAgreeWithNobody(t *testing.T) {
	g := newRig(t, nil)
	for _, name := range []string{"a", "b"} {
		g.report(name, state(300, drifted(200, sum(9, 9))))
	}
	g.report("a", state(300, drifted(300, sum(7, 7))))
	require.True(t, g.settle())
	g.report("c", state(300, drifted(300, sum(7, 7))))
	require.False(t, g.disputed())
	g.report("d", state(300, drifted(300, sum(7, 7))))
	require.True(t, g.disputed())
}

// An operator's word lets the replicas be repaired: what they say counts again once they have been equal.
func TestOperatorEndsADispute(t *testing.T) {
	g := newRig(t, nil)
	require.False(t, g.settle())
	wrong := sum(9, 9)
	g.report("a", state(300, drifted(200, wrong)))
	g.report("b", state(300, drifted(200, wrong)))
	require.True(t, g.settle())
	require.False(t, g.settle())
	require.Contains(t, g.said.String(), "by=\"an operator\"")
	for _, name := range []string{"a", "b"} {
		g.report(name, state(300, drifted(300, wrong)))
	}
	require.False(t, g.disputed(), "they still differ until they are repaired")
	repaired := func(x *api.ReplicaPartition) { x.Repairs = 1 }
	for _, name := range []string{"a", "b"} {
		g.report(name, state(400, both(equal(400), repaired)))
	}
	g.report("c", state(300, drifted(300, wrong)))
	require.False(t, g.disputed(), "one alone: what the others said is overruled")
	for _, name := range []string{"a", "b"} {
		g.report(name, state(500, both(drifted(500, wrong), repaired)))
	}
	require.True(t, g.disputed())
}

// What cannot be compared with the log when it is told counts as soon as that can be done: it is told again and again.
func TestAVerdictThatCannotBeJudgedYet(t *testing.T) {
	for name, x := range map[string]struct{ hide, show func(*rig) }{
		"the partition is away":          {func(g *rig) { g.away = true }, func(g *rig) { g.away = false }},
		"the log's end is behind":        {func(g *rig) { g.log.end = 150 }, func(g *rig) { g.log.end = 1000 }},
		"the log is of another time yet": {func(g *rig) { g.log.incarnation[0] = 5 }, func(g *rig) { g.log.incarnation[0] = 1 }},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			tell := func() {
				for _, name := range []string{"a", "b"} {
					g.report(name, state(250, drifted(200, sum(9, 9))))
				}
			}
			x.hide(g)
			tell()
			require.False(t, g.disputed())
			x.show(g)
			tell()
			require.True(t, g.disputed())
		})
	}
}

// The more replicas agree, the more there are in the dispute, up to a bound.
func TestDisputeIsBounded(t *testing.T) {
	g := newRig(t, nil)
	for i := range 200 {
		g.report(fmt.Sprintf("r%03d", i), state(300, drifted(200, sum(9, 9))))
	}
	require.Len(t, g.Disputes("")[0].Replicas, 64)
	require.True(t, g.settle())
	for i := range 200 {
		g.report(fmt.Sprintf("r%03d", i), state(400, drifted(300, sum(9, 9))))
	}
	require.False(t, g.disputed(), "those that it had no room for are overruled as well")
	require.Empty(t, g.Disputes(""))
}
