package consumer

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted counts how often somebody looks at all topics.
type counted struct {
	*world
	looks int
}

func (c *counted) All() []Topic {
	c.looks++
	return c.world.All()
}

// A regular expression is held against the topics when it comes, and when the topics change; not whenever another member does something.
func TestPatternsAreMatchedOnce(t *testing.T) {
	w := &counted{world: newWorld()}
	for i := range 3 {
		w.set(fmt.Sprintf("t%d", i), 1)
	}
	g := New(epochZero, Options{Topics: w, SessionTimeout: time.Hour, HeartbeatInterval: time.Second, MaxSize: 100})
	join := func(id, pattern string, epoch int32) {
		t.Helper()
		r, _ := g.Heartbeat(epochZero, &HeartbeatRequest{MemberID: id, Epoch: epoch, Rebalance: time.Minute, Pattern: &pattern})
		require.Nil(t, r.Err, r.Message)
	}
	for i := range 20 {
		join(fmt.Sprint("m", i), fmt.Sprintf("t%d|u%d", i%3, i/2), 0)
	}
	require.LessOrEqual(t, w.looks, 20)
	looks := w.looks
	join("same", "t0|u0", 0)
	require.Equal(t, looks, w.looks)
	require.Equal(t, 3, len(g.subscribed))

	// Topics that come are seen.
	u := w.set("u9", 1)
	join("m19", "t1|u9", g.byID["m19"].epoch)
	require.Contains(t, g.byID["m19"].topics, u)
	require.LessOrEqual(t, w.looks, looks+20)
	join("m19", "none", g.byID["m19"].epoch)
	require.Empty(t, g.byID["m19"].topics)
	require.Eventually(t, func() bool {
		runtime.GC()
		return len(g.opts.Patterns.live()) == len(patterns(g))
	}, time.Minute, time.Millisecond, "what nobody asks for any more is not kept")
	runtime.KeepAlive(g)
}

// crowd is groups that share the patterns, of which there are few.
func crowd(t *testing.T, w Topics, groups, distinct int) (*Patterns, []*Group) {
	t.Helper()
	p := NewPatterns(w)
	list := make([]*Group, groups)
	for i := range list {
		list[i] = New(epochZero, Options{Topics: w, Patterns: p, SessionTimeout: time.Hour, HeartbeatInterval: time.Second, MaxSize: 100})
		pattern := fmt.Sprintf("t[0-9]*%02d", i%distinct)
		x := p.Prepare(pattern)
		r, _ := list[i].Heartbeat(epochZero, &HeartbeatRequest{MemberID: "m", Rebalance: time.Minute, Pattern: &pattern})
		require.Nil(t, r.Err, r.Message)
		runtime.KeepAlive(x)
	}
	return p, list
}

func (g *Group) beat(t *testing.T) int {
	t.Helper()
	_, fx := g.Heartbeat(epochZero, &HeartbeatRequest{MemberID: "m", Epoch: g.byID["m"].epoch, Rebalance: -1})
	return fx.Rebalances
}

// With many groups and many topics each expression is held against each topic once, and against no more than the topics that come, and
// that not in the steps of the groups.
func TestPatternsOfManyGroups(t *testing.T) {
	const topics, groups, distinct = 10_000, 1000, 100
	w := &counted{world: newWorld()}
	for i := range topics {
		w.set(fmt.Sprintf("t%04d", i), 1)
	}
	p, list := crowd(t, w, groups, distinct)
	require.EqualValues(t, topics*distinct, p.steps.Load())
	require.Equal(t, 1, w.looks)
	for i, g := range list {
		require.Len(t, g.byID["m"].topics, topics/distinct, "group %d", i)
	}

	id := w.set("t10003", 1)
	p.Refresh(math.MaxInt)
	require.EqualValues(t, topics*distinct+distinct, p.steps.Load())
	looks := w.looks
	for i, g := range list {
		require.Equal(t, i%distinct == 3, g.beat(t) == 1)
		require.Equal(t, i%distinct == 3, slices.Contains(g.byID["m"].topics, id))
	}
	p.Refresh(math.MaxInt)
	require.EqualValues(t, topics*distinct+distinct, p.steps.Load())
	require.Equal(t, looks, w.looks)

	w.set("t10003", 2) // has another number of partitions
	p.Refresh(math.MaxInt)
	require.Equal(t, 1, list[3].beat(t))
	w.set("t10003", 0)
	p.Refresh(math.MaxInt)
	require.Equal(t, 1, list[3].beat(t))
	require.NotContains(t, list[3].byID["m"].topics, id)
	require.EqualValues(t, topics*distinct+distinct, p.steps.Load())
}

// A topic that no member reads leaves what the members read alone; one that a member waits for by its name does not, also where another
// member reads it already.
func TestOtherTopicsAreNotResolved(t *testing.T) {
	w := newWorld()
	w.set("t1", 1)
	p := NewPatterns(w)
	g := New(epochZero, Options{Topics: w, Patterns: p, SessionTimeout: time.Hour, HeartbeatInterval: time.Second, MaxSize: 100})
	pattern := "t.*"
	g.Heartbeat(epochZero, &HeartbeatRequest{MemberID: "m", Rebalance: time.Minute, Pattern: &pattern})
	g.Heartbeat(epochZero, &HeartbeatRequest{MemberID: "named", Rebalance: time.Minute, Names: []string{"t1", "t2"}})
	g.beat(t)
	resolved := &g.byID["m"].topics[0]
	for _, partitions := range []int{1, 2, 0} {
		w.set("u1", partitions)
		p.Refresh(math.MaxInt)
		require.Zero(t, g.beat(t))
		require.Same(t, resolved, &g.byID["m"].topics[0])
	}

	// It comes while a step is under way: the one member is asked about before, the other after.
	id := w.set("t2", 1)
	p.Refresh(math.MaxInt)
	g.resolve()
	named := g.byID["named"]
	named.topics = slices.DeleteFunc(named.topics, func(topic TopicID) bool { return topic == id })
	g.topicsVersion--
	g.resolve()
	require.Contains(t, named.topics, id)
}

// When many topics come at once no heartbeat does more than its share, and a group sees a topic as soon as somebody has come to it.
func TestRefreshOfPatternsIsBounded(t *testing.T) {
	const topics, distinct, share = 1000, 100, 3000
	w := newWorld()
	p, list := crowd(t, w, distinct, distinct)
	for i := range topics {
		w.set(fmt.Sprintf("t%03d", i), 1)
	}
	before, seen := p.steps.Load(), 0
	for done := uint64(0); done < topics*distinct; done = p.steps.Load() - before {
		p.Refresh(share)
		require.LessOrEqual(t, p.steps.Load()-before-done, uint64(share))
		require.Greater(t, p.steps.Load()-before, done)
		for _, g := range list {
			seen += g.beat(t)
		}
	}
	require.GreaterOrEqual(t, seen, distinct)
	for _, g := range list {
		require.Len(t, g.byID["m"].topics, topics/distinct)
	}
	p.Refresh(share)
	require.EqualValues(t, topics*distinct, p.steps.Load()-before)

	// Somebody else is at it: nobody waits.
	w.set("t", 1)
	p.refreshing.Lock()
	p.Refresh(share)
	p.refreshing.Unlock()
	require.EqualValues(t, topics*distinct, p.steps.Load()-before)
}

// An expression that nobody has held against the topics before a group needs it is not taken for one that matches nothing.
func TestPatternThatWasNotPrepared(t *testing.T) {
	w := newWorld()
	id := w.set("t1", 1)
	p := NewPatterns(w)
	g := New(epochZero, Options{Topics: w, Patterns: p, SessionTimeout: time.Hour, HeartbeatInterval: time.Second, MaxSize: 100})
	pattern := "t.*"
	g.Heartbeat(epochZero, &HeartbeatRequest{MemberID: "m", Rebalance: time.Minute, Pattern: &pattern})
	again, err := Restore(epochZero, Options{Topics: w, Patterns: NewPatterns(w), SessionTimeout: time.Hour, HeartbeatInterval: time.Second, MaxSize: 100}, g.Append(nil))
	require.NoError(t, err)
	require.Zero(t, again.beat(t))
	require.Equal(t, []TopicID{id}, again.byID["m"].topics)
}

// Topics that came and went are forgotten, and what comes later is seen.
func TestPatternsForgetTopics(t *testing.T) {
	w := newWorld()
	p, list := crowd(t, w, 1, 1)
	for range 5 {
		for i := range 4 * goneMax {
			w.set(fmt.Sprintf("t%d00", i), 1)
		}
		p.Refresh(math.MaxInt)
		for i := range 4 * goneMax {
			w.set(fmt.Sprintf("t%d00", i), 0)
		}
		p.Refresh(math.MaxInt)
		require.LessOrEqual(t, len(p.arrived.list), goneMax+1)
		require.LessOrEqual(t, len(list[0].byID["m"].regex.found.Load().ids), goneMax+1)
	}
	id := w.set("t00", 1)
	p.Refresh(math.MaxInt)
	list[0].beat(t)
	require.Equal(t, []TopicID{id}, list[0].byID["m"].topics)
}

func patterns(g *Group) map[string]bool {
	all := map[string]bool{}
	for _, m := range g.members {
		all[m.pattern] = true
	}
	return all
}
