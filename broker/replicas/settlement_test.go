package replicas_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	api "github.com/keyframelog/keyframe/proto/state"
)

func (g *rig) gone(names ...string) {
	g.t.Helper()
	for _, name := range names {
		_, err := g.Report(files, &api.ReportRequest{Topic: files.Name, Replica: name, Host: "host pid 1", Leaving: true})
		require.NoError(g.t, err)
	}
}

// drift lets replicas say the same against the broker.
func (g *rig) drift(cut int64, names ...string) {
	g.t.Helper()
	for _, name := range names {
		g.report(name, state(cut+50, drifted(cut, sum(9, 9))))
	}
}

func repaired(x *api.ReplicaPartition) { x.Repairs = 1 }

// Whom an operator has overruled stays overruled until it was equal once, whatever comes between.
func TestTheOverruledStayOverruled(t *testing.T) {
	second := func(g *rig) {
		for _, name := range []string{"c", "d"} {
			g.report(name, state(350, drifted(300, sum(8, 8))))
		}
		require.True(g.t, g.settle())
	}
	for name, meanwhile := range map[string]func(*rig){
		"they come and go":                  func(g *rig) { g.gone("a", "b") },
		"the broker starts again":           func(g *rig) { g.restart() },
		"others are overruled":              func(g *rig) { second(g) },
		"others are, while they are away":   func(g *rig) { g.gone("a", "b"); second(g) },
		"others are, and the broker starts": func(g *rig) { second(g); g.restart() },
		"others are, after a start":         func(g *rig) { g.restart(); second(g); g.restart() },
		"a long time in which they report": func(g *rig) {
			for range 6 {
				g.now = g.now.Add(10 * 24 * time.Hour)
				g.drift(200, "a", "b")
				g.restart()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.drift(200, "a", "b")
			require.True(t, g.settle())
			g.drift(200, "a", "b")
			meanwhile(g)
			g.drift(200, "a", "b")
			require.False(t, g.disputed(), "it was settled up to there")
			g.drift(400, "a", "b")
			require.False(t, g.disputed())
			g.report("e", state(450, drifted(400, sum(9, 9))))
			require.False(t, g.disputed(), "it is alone")

			for _, name := range []string{"a", "b"} {
				g.report(name, state(600, both(equal(500), repaired)))
			}
			g.restart()
			for _, name := range []string{"a", "b"} {
				g.report(name, state(700, both(drifted(700, sum(9, 9)), repaired)))
			}
			require.True(t, g.disputed(), "they have been equal since")
		})
	}
}

// What is settled up to a cut is not begun again after a restart by what others say of before, however it ended.
func TestWhatIsSettledOutlivesTheBroker(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"an operator": func(g *rig) { require.True(g.t, g.settle()) },
		"by itself":   func(g *rig) { g.report("a", state(350, equal(300))) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, nil)
			g.drift(200, "a", "b")
			end(g)
			g.restart()
			g.drift(200, "b", "c", "d")
			require.False(t, g.disputed())
			g.drift(400, "c", "d")
			require.True(t, g.disputed())
			require.Len(t, g.stored.disputes, 1)
			g.DropTopic(files.ID)
			require.False(t, g.disputed())
		})
	}
}

// What is kept of who was overruled is bounded, and goes with those who are equal, and those who are not heard of any more.
func TestTheOverruledAreForgotten(t *testing.T) {
	overruled := func(g *rig) (names []string) {
		require.Len(g.t, g.stored.settled, 1)
		for _, o := range g.stored.settled[0].Overruled {
			names = append(names, o.Replica)
		}
		return names
	}
	t.Run("equal", func(t *testing.T) {
		g := newRig(t, nil)
		g.drift(200, "a", "b")
		require.True(t, g.settle())
		require.Equal(t, []string{"a", "b"}, overruled(g))
		g.report("a", state(400, both(equal(400), repaired)))
		require.Equal(t, []string{"b"}, overruled(g))
		g.report("b", state(400, both(equal(400), repaired)))
		require.Empty(t, overruled(g))
	})
	t.Run("gone", func(t *testing.T) {
		g := newRig(t, nil)
		g.drift(200, "a", "b", "c")
		require.True(t, g.settle())
		g.now = g.now.Add(20 * 24 * time.Hour)
		g.drift(300, "a")
		require.Equal(t, []string{"a", "b", "c"}, overruled(g))
		g.now = g.now.Add(11 * 24 * time.Hour)
		g.drift(400, "a")
		require.Equal(t, []string{"a"}, overruled(g))
		g.drift(500, "b", "c")
		require.True(t, g.disputed(), "nobody has heard of them for 31 days")
	})
	t.Run("the log is created anew", func(t *testing.T) {
		g := newRig(t, nil)
		g.drift(200, "a", "b")
		require.True(t, g.settle())
		g.log.incarnation[0] = 2
		for _, name := range []string{"c", "d"} {
			g.report(name, state(150, both(drifted(100, sum(9, 9)), anew)))
		}
		require.True(t, g.settle(), "what was settled is of another log")
		require.Equal(t, []string{"c", "d"}, overruled(g))
	})
	t.Run("gone while the broker is", func(t *testing.T) {
		g := newRig(t, nil)
		g.drift(200, "a", "b")
		require.True(t, g.settle())
		g.now = g.now.Add(31 * 24 * time.Hour)
		g.restart()
		g.drift(500, "a", "b")
		require.True(t, g.disputed())
		require.Empty(t, overruled(g))
	})
	t.Run("reports of one are noted once a day", func(t *testing.T) {
		g := newRig(t, nil)
		g.drift(200, "a", "b")
		require.True(t, g.settle())
		writes := g.stored.writes
		for range 24 {
			g.now = g.now.Add(time.Hour)
			g.drift(200, "a", "b")
		}
		require.Equal(t, writes, g.stored.writes)
		g.now = g.now.Add(time.Hour)
		g.drift(200, "a")
		require.Equal(t, writes+1, g.stored.writes)
	})
	t.Run("many", func(t *testing.T) {
		g := newRig(t, nil)
		many := func(of string) (names []string) {
			for i := range 200 {
				names = append(names, fmt.Sprintf("%s%03d", of, i))
			}
			return names
		}
		g.drift(200, many("a")...)
		require.True(t, g.settle())
		require.Len(t, overruled(g), 200)
		g.gone(many("a")...)
		g.now = g.now.Add(time.Second)
		g.drift(300, many("b")...)
		require.True(t, g.settle())
		require.Len(t, overruled(g), 256)
		require.Subset(t, overruled(g), many("b"), "those heard of last")
		g.drift(400, many("b")...)
		require.False(t, g.disputed())
		g.restart()
		g.drift(500, many("b")...)
		require.False(t, g.disputed())
	})
}
