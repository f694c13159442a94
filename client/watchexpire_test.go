package client

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// Rows leave at a cut within what one fetch brings, and one of the keys comes back behind it, in the same fetch. Every change behind the cut says so
// in Next: whoever resumes from it is told of nothing again, and does not take the key that came back for one that expired.
func TestWatchBehindRowsThatExpiredWithinAFetch(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kept := range []bool{true, false} { // the changes, for whoever resumes
			for _, stop := range []string{"k2", "k4"} { // behind the first change, and behind the last
				t.Run(fmt.Sprintf("kept %v/%s", kept, stop), func(t *testing.T) {
					g := newRig(t, fold.LastValue, 1)
					g.cfg.Store, g.cfg.WatchChanges = store(), 16
					g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
					g.log.cut(0)
					r := g.open()
					m := newMirror()
					require.NoError(t, m.follow(testContext(t), r, map[int32]int64{0: 3}))
					ctx, cancel := context.WithCancel(testContext(t))
					next, end := pullChanges(r.Watch(ctx, m.at))
					defer func() { cancel(); end() }()
					g.tail.hold()
					last := g.log.append(0, "k1", "5", "k2", "2", "k2", "3", "k4", "4") // 3, 4, 5, 6, in one fetch
					const cut = 4
					g.log.cutExpiringAt(0, cut, 3) // k0 and k2 leave
					require.Eventually(t, func() bool { return r.partitions[0].waitsFor(cut) }, guard, time.Millisecond)
					g.tail.release()
					require.NoError(t, r.WaitFor(testContext(t), 0, last))
					for {
						c, err := next()
						require.NoError(t, err)
						m.take(c)
						if c.Offset < cut {
							continue
						}
						require.EqualValues(t, 3, c.Next.Start, "%s at %d", c.Key, c.Offset)
						if string(c.Key) == stop {
							break
						}
					}
					if !kept {
						for range 40 {
							g.log.append(0, "x", "1")
						}
					}
					last = g.log.append(0, "end", "1")
					require.NoError(t, r.WaitFor(testContext(t), 0, last))
					from := m.at[0]
					for c, err := range r.Watch(testContext(t), m.at) {
						require.NoError(t, err)
						require.GreaterOrEqual(t, c.Offset, from.Offset, "%s was told before", c.Key)
						if m.take(c); m.at[0].Offset == last {
							break
						}
					}
					require.Equal(t, g.log.state(0), m.state)
				})
			}
		}
	})
}

// Whoever watched another replica, or this one before it lost its latest changes, comes with a position behind a cut, and without what expired there.
// He is told of that, of nothing that he has, and of no key that came back.
func TestWatchFromBehindRowsThatExpired(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kept := range []bool{true, false} { // the changes
			for _, loaded := range []bool{false, true} { // a frame, in place of the deltas up to the cut
				t.Run(fmt.Sprintf("kept %v/loaded %v", kept, loaded), func(t *testing.T) {
					g := newRig(t, fold.LastValue, 1)
					g.cfg.Store, g.cfg.WatchChanges = store(), 16
					g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
					g.log.cut(0)
					r := g.open()
					ctx, cancel := context.WithCancel(testContext(t))
					next, stop := pullChanges(r.Watch(ctx, nil)) // so that a Dir store keeps what changes
					defer func() { cancel(); stop() }()
					for range 3 {
						_, err := next()
						require.NoError(t, err)
					}
					id := r.Positions()[0].Incarnation
					g.tail.hold()
					g.log.append(0, "k1", "5") // 3
					cut := g.log.cutExpiring(0, 3)
					require.Eventually(t, func() bool { return r.partitions[0].waitsFor(cut) }, guard, time.Millisecond)
					if loaded {
						g.log.trim(0)
						frames := g.plane.tries.Load()
						r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange})
						require.Eventually(t, func() bool { return g.plane.tries.Load() > frames && r.partitions[0].startIs(3) }, guard, time.Millisecond)
					}
					at := cut
					m := &mirror{state: map[string]string{"k0": "1", "k1": "5", "k2": "1"}}
					g.tail.release()
					if !loaded {
						at = g.log.append(0, "k2", "3", "k4", "4") // 4, 5
						m.state["k2"], m.state["k4"] = "3", "4"
						require.NoError(t, r.WaitFor(testContext(t), 0, at))
					}
					m.at = Positions{0: {Incarnation: id, Offset: at}}

					if !kept {
						for range 40 {
							g.log.append(0, "x", "1")
						}
					}
					last := g.log.append(0, "end", "1")
					require.NoError(t, r.WaitFor(testContext(t), 0, last))
					for c, err := range r.Watch(testContext(t), m.at) {
						require.NoError(t, err)
						require.True(t, c.Deleted || c.Offset >= at, "%s at %d was told before", c.Key, c.Offset)
						if m.take(c); m.at[0].Offset == last {
							break
						}
					}
					require.Equal(t, g.log.state(0), m.state)
				})
			}
		}
	})
}
