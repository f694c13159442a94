package replicas_test

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/replicas"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// store is a catalog's part.
type store struct {
	mu       sync.Mutex
	disputes []catalog.Dispute
	settled  []catalog.Settlement
	err      error
	writes   int
	hold     func() // is called in the middle of a write
}

func (s *store) ChangeDisputes(put []catalog.Dispute, settled []catalog.Settlement, ended []catalog.DisputedPartition) error {
	if s.hold != nil {
		s.hold()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.err != nil {
		return s.err
	}
	s.disputes = slices.DeleteFunc(s.disputes, func(d catalog.Dispute) bool {
		return slices.Contains(ended, d.DisputedPartition) ||
			slices.ContainsFunc(put, func(p catalog.Dispute) bool { return p.DisputedPartition == d.DisputedPartition })
	})
	s.disputes = append(s.disputes, put...)
	s.settled = slices.DeleteFunc(s.settled, func(d catalog.Settlement) bool {
		return slices.ContainsFunc(settled, func(p catalog.Settlement) bool { return p.DisputedPartition == d.DisputedPartition })
	})
	s.settled = append(s.settled, settled...)
	return nil
}

func (s *store) Settlements() ([]catalog.Settlement, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.settled), s.err
}

func (s *store) Disputes() ([]catalog.Dispute, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.disputes), s.err
}

// A dispute outlives the broker: it is told of before a replica reports, with what to do, and only what ends it otherwise ends it.
func TestADisputeOutlivesTheBroker(t *testing.T) {
	wrong := sum(9, 9)
	begin := func(t *testing.T) *rig {
		g := newRig(t, nil)
		for _, name := range []string{"a", "b"} {
			g.report(name, state(400, drifted(200, wrong)))
		}
		for _, name := range []string{"a", "b"} { // it moves on
			g.report(name, state(400, drifted(300, wrong)))
		}
		before := g.Disputes("files")
		g.restart()
		require.Equal(t, before, g.Disputes("files"))
		require.EqualValues(t, 300, before[0].Point.Offset)
		require.True(t, g.disputed())
		require.Equal(t, map[int32]replicas.Standing{0: {Disputed: true}}, g.Standings(files.ID))
		for _, want := range []string{"level=ERROR", "as before the start", "keyframe check", "keyframe replica settle", "topic=files", "partition=0", "cut=300", "[a b]"} {
			require.Contains(t, g.said.String(), want)
		}
		n, err := testutil.GatherAndCount(g.metrics, "keyframe_replicas_disputed")
		require.NoError(t, err)
		require.Equal(t, 1, n)
		return g
	}
	requireOver := func(t *testing.T, g *rig) {
		require.False(t, g.disputed())
		g.restart()
		require.False(t, g.disputed())
		require.NotContains(t, g.said.String(), "level=ERROR")
	}
	t.Run("one of them comes back alone", func(t *testing.T) {
		g := begin(t)
		require.Equal(t, []int32{0}, g.report("b", state(400, drifted(300, wrong))).Disputed)
		require.Equal(t, []int32{0}, g.report("b", state(400, drifted(400, wrong))).Disputed)
		require.Equal(t, []int32{0}, g.report("c", state(400, equal(400))).Disputed, "it is none of them")
		g.restart()
		require.True(t, g.disputed())
	})
	t.Run("who says the same joins", func(t *testing.T) {
		g := begin(t)
		g.report("c", state(400, drifted(300, wrong)))
		require.Equal(t, []string{"a", "b", "c"}, g.Disputes("")[0].Replicas)
		g.restart()
		require.Equal(t, []string{"a", "b", "c"}, g.Disputes("")[0].Replicas)
		g.report("c", state(400, equal(400)))
		requireOver(t, g)
	})
	t.Run("one of them is equal later, by itself", func(t *testing.T) {
		g := begin(t)
		g.report("a", state(400, equal(300)))
		require.True(t, g.disputed(), "that is where it differed")
		g.report("a", state(400, equal(400)))
		requireOver(t, g)
	})
	t.Run("one of them was repaired", func(t *testing.T) {
		g := begin(t)
		g.report("a", state(400, both(equal(400), func(x *api.ReplicaPartition) { x.Repairs = 1 })))
		require.True(t, g.disputed())
	})
	t.Run("the topic is deleted", func(t *testing.T) {
		g := begin(t)
		g.DropTopic(files.ID)
		require.Empty(t, g.Disputes(""))
		require.False(t, g.disputed())
	})
	t.Run("an operator settles it before they are back", func(t *testing.T) {
		g := begin(t)
		require.True(t, g.settle())
		require.False(t, g.settle())
		require.Equal(t, map[int32]replicas.Standing{0: {Ended: 1}}, g.Standings(files.ID), "who saw nothing of it is told that one has ended")
		for _, name := range []string{"a", "b"} {
			g.report(name, state(400, drifted(400, wrong)))
		}
		require.False(t, g.disputed(), "they still differ until they are repaired")
		_, err := g.Report(files, &api.ReportRequest{Replica: "a", Leaving: true})
		require.NoError(t, err)
		for _, name := range []string{"a", "b"} {
			g.report(name, state(500, drifted(500, wrong)))
		}
		require.False(t, g.disputed(), "also if they come and go")
		for _, name := range []string{"a", "b"} {
			g.report(name, state(600, both(equal(600), func(x *api.ReplicaPartition) { x.Repairs = 1 })))
		}
		_, err = g.Report(files, &api.ReportRequest{Replica: "b", Leaving: true})
		require.NoError(t, err)
		for _, name := range []string{"a", "b"} {
			g.report(name, state(700, both(drifted(700, wrong), func(x *api.ReplicaPartition) { x.Repairs = 1 })))
		}
		require.True(t, g.disputed(), "they have been equal since")
	})
}

// Nobody hears of a dispute that is not stored: neither who makes the second claim, nor who asks meanwhile. Reports about other topics go on.
func TestADisputeIsStoredBeforeItIsTold(t *testing.T) {
	g := newRig(t, nil)
	g.report("a", state(300, drifted(200, sum(9, 9))))
	changed := g.Changed()
	writing, write := make(chan struct{}), make(chan struct{})
	g.stored.hold = func() {
		g.stored.hold = nil
		close(writing)
		<-write
	}
	told := make(chan string, 8)
	var asking sync.WaitGroup
	asking.Go(func() {
		g.report("b", state(300, drifted(200, sum(9, 9))))
		told <- "report"
	})
	<-writing
	for name, ask := range map[string]func(){
		"list": func() { g.Disputes("") }, "repair": func() { g.disputed() }, "standings": func() { g.Standings(files.ID) },
		"again": func() { g.report("c", state(300)) },
	} {
		asking.Go(func() {
			ask()
			told <- name
		})
	}
	_, err := g.Report(replicas.Topic{ID: [16]byte{8}, Name: "other"}, &api.ReportRequest{Replica: "x", Partitions: []*api.ReplicaPartition{state(1)}})
	require.NoError(t, err)
	require.NotContains(t, g.said.String(), "ERROR")
	select {
	case name := <-told:
		t.Fatalf("%s was told", name)
	case <-changed:
		t.Fatal("who waits was told")
	default:
	}
	close(write)
	asking.Wait()
	require.Len(t, g.stored.disputes, 1)
	require.Contains(t, g.said.String(), "ERROR")
	<-changed
}

// A store that fails does not keep a dispute from standing; it is stored as soon as that is possible.
func TestAStoreThatFails(t *testing.T) {
	g := newRig(t, nil)
	g.stored.err = errors.New("disk on fire")
	g.report("a", state(300, drifted(200, sum(9, 9))))
	_, err := g.Report(files, &api.ReportRequest{Replica: "b", Partitions: []*api.ReplicaPartition{state(300, drifted(200, sum(9, 9)))}})
	require.ErrorIs(t, err, g.stored.err, "the replica says it again")
	require.True(t, g.disputed())
	require.Contains(t, g.said.String(), "it is lost when the broker stops")
	g.stored.err = nil
	g.report("b", state(300, drifted(200, sum(9, 9))))
	g.restart()
	require.True(t, g.disputed())

	g.stored.err = errors.New("disk on fire")
	ended, err := g.ClearDispute(files.ID, 0)
	require.True(t, ended)
	require.ErrorIs(t, err, g.stored.err)
	require.False(t, g.disputed())
	g.stored.err = nil
	require.False(t, g.settle())
	g.restart()
	require.False(t, g.disputed())
}

// Many who differ at once share writes, and what did not change is not written.
func TestDisputesAreStoredAsTheyChange(t *testing.T) {
	g := newRig(t, nil)
	for range 3 {
		g.report("a", state(300, drifted(200, sum(9, 9))))
		g.report("b", state(300, drifted(200, sum(9, 9))))
	}
	require.Equal(t, 1, g.stored.writes)
	g.report("c", state(300, equal(300)))
	require.Equal(t, 1, g.stored.writes)
}
