package consumer

import (
	"fmt"
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
	require.Len(t, g.matches, len(patterns(g)), "what nobody asks for any more is not kept")
	join("m19", "none", g.byID["m19"].epoch)
	require.Empty(t, g.byID["m19"].topics)
	require.Len(t, g.matches, len(patterns(g)))
}

func patterns(g *Group) map[string]bool {
	all := map[string]bool{}
	for _, m := range g.members {
		all[m.pattern] = true
	}
	return all
}
