package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
)

// bySize are the files with rows and their index: the rows' first.
func (g *rottenRig) bySize() []string {
	sizes := g.tables()
	return slices.SortedFunc(maps.Keys(sizes), func(a, b string) int { return cmp.Compare(sizes[b], sizes[a]) })
}

// awaitSound waits until it is known that no rows are rotten that were, and the partition is followed on at an offset.
func (g *rottenRig) awaitSound(end int64) {
	p := g.r.partitions[0]
	g.await("the repair", func() bool {
		return g.count(CorruptionFound) > 0 && p.rot() == nil && p.followed() && p.position().Offset >= end
	})
}

// Rows that cannot be read leave with the others that the log start has passed, wherever the replica learns of it: what is left of a damaged block is fetched,
// and nothing else, and that rows are rotten is told once.
func TestRottenRowsExpire(t *testing.T) {
	const some, all = 3800, 12_000 // row i was written at offset i; some is within the damaged block, all is behind
	for name, c := range map[string]struct {
		start        int64
		later, trim  bool
		index, drift bool
	}{
		"some":                        {start: some},
		"some, at a cut above":        {start: some, later: true},
		"some, behind the trim":       {start: some, later: true, trim: true},
		"some, and others drift":      {start: some, drift: true},
		"all":                         {start: all},
		"all, at a cut above":         {start: all, later: true},
		"all, behind the trim":        {start: all, later: true, trim: true},
		"the index":                   {start: some, index: true},
		"the index, at a cut above":   {start: some, later: true, index: true},
		"the index, behind the trim":  {start: some, later: true, trim: true, index: true},
		"all, and others drift":       {start: all, drift: true},
		"some drift, at a cut above":  {start: some, later: true, drift: true},
		"some drift, behind the trim": {start: some, later: true, trim: true, drift: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, Report)
			if c.drift {
				g.open()
				end := g.drift(1000)
				g.awaitVerdict(end, Drifted)
				require.NoError(t, g.r.Close())
			}
			g.cfg.OnDrift, g.lose = Repair, false
			if c.later {
				g.log.append(0, "later", "1")
			}
			end := g.log.cutExpiring(0, c.start)
			if c.trim {
				g.log.trim(0)
			}
			file, block := g.bySize()[0], int64(500_000)
			if c.index {
				file, block = g.bySize()[1], 100_000
			}
			require.NotNil(t, g.rot(file, block))
			g.awaitSound(end)
			require.Equal(t, 1, g.count(CorruptionFound), "%+v", g.events)
			for _, is := range []EventKind{Bootstrapped, BootstrapFailed, RepairFailed, OutOfRange} {
				require.Zero(t, g.count(is), is)
			}
			left := c.start == some && !c.index
			repairedBy := func(method Method) *RepairResult { // it is told after the rows are sound
				g.await("what was repaired", func() bool { done := g.lastRepair(); return done != nil && done.Method == method })
				return g.lastRepair()
			}
			switch {
			case c.drift:
				require.Equal(t, left, repairedBy(BySketch).Cause == LocalCorruption)
			case c.index:
				repairedBy(ByRows)
			case left:
				require.Less(t, repairedBy(ByIndex).Keys, int64(400))
			default:
				require.Nil(t, g.lastRepair(), "nothing is left to be put right")
			}
			require.Equal(t, left || c.drift, len(g.named) > 0)
			if !c.drift {
				for key, d := range g.named {
					require.Equal(t, d.Log, d.Applied, key)
					require.NotEqual(t, digest.Entry{}, d.Log, key)
				}
			}
			g.requireState(0)
			for _, v := range slices.Concat(g.r.Scrub(testContext(t)), g.r.Verify(testContext(t))) {
				require.Equal(t, Equal, v.Outcome, "%+v", v)
			}
			end = g.log.append(0, "goes", "on")
			require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
		})
	}
}

// Who watches is told of each row that leaves, whether it can be read or not, and of nothing that is not the log's.
func TestWatchRottenRowsThatExpire(t *testing.T) {
	const start = 3800
	g := newRottenDriftRig(t, Repair)
	g.cfg.WatchChanges = 50_000
	require.NotNil(t, g.rot(g.bySize()[0], 500_000))
	p := g.r.partitions[0]
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	changes := make(chan Change, 50_000)
	failed := make(chan error, 1)
	go func() {
		for c, err := range g.r.Watch(ctx, Positions{0: p.position()}) {
			if err != nil {
				failed <- err
				return
			}
			changes <- c
		}
	}()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.watched
	}, guard, time.Millisecond)
	before := g.log.state(0)
	end := g.log.cutExpiring(0, start)
	g.awaitSound(end)
	log := g.log.state(0)
	told := map[string]bool{}
	for len(before)-len(told) > len(log) {
		select {
		case err := <-failed:
			require.NoError(t, err)
		case c := <-changes:
			if key := string(c.Key); c.Deleted {
				require.True(t, c.Expired)
				require.NotContains(t, log, key)
				require.False(t, told[key], "%s is told twice", key)
				told[key] = true
			} else {
				require.Equal(t, log[key], string(c.Value), key)
			}
		case <-ctx.Done():
			require.NoError(t, ctx.Err())
		}
	}
}
