package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Rows that the log start has passed leave a replica at the cut at which they leave the log's table, whether it hears of the cut before it
// is there or behind it. No frame is loaded for that, nothing is taken for drift, and watchers learn that nobody deleted the keys.
func TestRowsExpire(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/late %v", kind, late), func(t *testing.T) {
					g := newRig(t, kind, 1)
					g.cfg.Store = store()
					g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
					g.log.cut(0)
					g.open()
					ctx, cancel := context.WithCancel(testContext(t))
					next, stop := pullChanges(g.r.Watch(ctx, nil))
					defer func() { cancel(); stop() }()
					for range 3 {
						_, err := next()
						require.NoError(t, err)
					}
					frames := g.plane.tries.Load()
					g.log.append(0, "k1", "5", "k3", "7")
					require.NoError(t, g.r.WaitFor(ctx, 0, 5))
					if !late {
						g.tail.hold()
						g.log.append(0, "k3", "8")
					} else {
						g.plane.hidden.Store(true)
					}
					cut := g.log.cutExpiring(0, 3) // k0 and k2 leave, k1 was touched since
					g.log.append(0, "k2", "2")
					if late { // one that is passed too: what was known there was with the rows that leave
						g.log.cut(0)
					}
					end := g.log.append(0, "k4", "4")
					if !late {
						require.Eventually(t, func() bool { return g.r.partitions[0].waitsFor(cut) || g.r.partitions[0].startIs(3) }, guard, time.Millisecond)
						g.tail.release()
					} else {
						require.NoError(t, g.r.WaitFor(ctx, 0, end))
						g.plane.hidden.Store(false)
						g.log.changed.notify()
						require.Eventually(t, func() bool { return g.r.partitions[0].startIs(3) }, guard, time.Millisecond)
					}
					require.NoError(t, g.r.WaitFor(ctx, 0, end))
					if late && kind == fold.Counter { // 2 was added to the 1 of a row that was gone: only the frame helps
						require.Eventually(t, func() bool { return g.plane.tries.Load() > frames }, guard, time.Millisecond)
					}
					end = g.log.append(0, "k5", "1")
					require.NoError(t, g.r.WaitFor(ctx, 0, end))
					last := g.log.cut(0)
					g.awaitVerdict(last, Equal)
					g.requireState(0)
					require.Zero(t, g.outcomes()[Drifted])
					if late && kind == fold.Counter {
						return
					}
					require.Equal(t, frames, g.plane.tries.Load(), "a frame was loaded")
					expired := map[string]bool{}
					for {
						c, err := next()
						require.NoError(t, err)
						require.Equal(t, c.Deleted, c.Expired)
						expired[string(c.Key)] = c.Expired
						if string(c.Key) == "k5" {
							break
						}
					}
					require.True(t, expired["k0"])
				})
			}
		}
	})
}

// A comparison that finds rows which the log has let go asks for the frames that it has not heard of before it speaks of drift.
func TestVerifyLearnsOfTheLogStart(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
		g.log.cut(0)
		g.open()
		ctx := testContext(t)
		end := g.log.append(0, "k1", "5")
		require.NoError(t, g.r.WaitFor(ctx, 0, end))
		g.plane.silent.Store(true)
		g.log.cutExpiring(0, 3)
		require.Equal(t, Inconclusive, g.r.Verify(ctx)[0].Outcome)
		require.Eventually(t, func() bool { return g.r.partitions[0].startIs(3) }, guard, time.Millisecond)
		require.Equal(t, Equal, g.r.Verify(ctx)[0].Outcome)
		g.requireState(0)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// Rows that leave while a comparison is on its way are no drift: what it compares is not the state any more.
func TestRowsExpireWithinAComparison(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1")
		g.log.cut(0)
		r := g.open()
		require.NoError(t, r.WaitFor(testContext(t), 0, g.log.append(0, "k1", "2")))
		g.plane.hidden.Store(true)
		g.log.cutExpiring(0, 1)
		learn := func() {
			g.plane.hidden.Store(false)
			g.log.changed.notify()
			require.Eventually(t, func() bool { return r.partitions[0].startIs(1) }, guard, time.Millisecond)
		}
		g.plane.before.Store(&learn)
		v := r.Verify(testContext(t))[0]
		require.Equal(t, Inconclusive, v.Outcome)
		require.Zero(t, v.start, "the broker is told of the state that was compared")
		v = r.Verify(testContext(t))[0]
		require.Equal(t, Equal, v.Outcome)
		require.EqualValues(t, 1, v.start)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// Behind a cut at which rows left, what has no record (the marker of a transaction) moves the position on: the digest there is that without them.
func TestRowsExpireBeforeAMarker(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
		g.log.cut(0)
		g.open()
		ctx := testContext(t)
		g.tail.hold()
		g.log.append(0, "k1", "5")
		cut := g.log.cutExpiring(0, 3)
		require.Eventually(t, func() bool { return g.r.partitions[0].waitsFor(cut) }, guard, time.Millisecond)
		g.tail.release()
		g.awaitVerdict(cut, Equal)
		end := g.log.marker(0)
		require.NoError(t, g.r.WaitFor(ctx, 0, end))
		require.Equal(t, end, g.log.cut(0))
		g.awaitVerdict(end, Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// The frame at which rows have left is thinned before the replica hears of it: deltas behind it were folded onto rows that were gone. The next
// frame has the same log start, and is no proof of drift.
func TestRowsExpiredAtAThinnedFrame(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("held %v", held), func(t *testing.T) {
				g := newRig(t, fold.Counter, 1)
				g.cfg.Store = store()
				g.log.append(0, "k0", "1", "k1", "1")
				g.log.cut(0)
				r := g.open()
				g.plane.hidden.Store(true)
				thinned := g.log.cutExpiring(0, 1)
				if held {
					require.NoError(t, r.WaitFor(testContext(t), 0, g.log.append(0, "k1", "1")))
					g.tail.hold()
				}
				end := g.log.append(0, "k0", "5") // 5 in the log, 6 here
				if !held {
					require.NoError(t, r.WaitFor(testContext(t), 0, end))
				}
				cut := g.log.cut(0)
				g.log.thin(0, thinned)
				frames := g.plane.tries.Load()
				g.plane.hidden.Store(false)
				g.log.changed.notify()
				if held {
					require.Eventually(t, func() bool { return r.partitions[0].waitsFor(cut) }, guard, time.Millisecond)
					g.tail.release()
				}
				require.Eventually(t, func() bool { return g.plane.tries.Load() > frames }, guard, time.Millisecond, "no frame was loaded")
				require.NoError(t, r.WaitFor(testContext(t), 0, g.log.append(0, "k2", "1")))
				g.awaitVerdict(g.log.cut(0), Equal)
				g.requireState(0)
				require.Zero(t, g.outcomes()[Drifted])
			})
		}
	})
}

// Rows expire at a cut that is there already: nothing is appended any more, and the frame at the replica's position is superseded. The replica lets
// the rows go in place, proves itself anew, and loads nothing; whoever watches it learns of it, wherever he stopped.
func TestRowsExpireOnAnIdleTopic(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
			for _, behind := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v/behind %v", kind, behind), func(t *testing.T) {
					g := newRig(t, kind, 1)
					g.cfg.Store = store()
					g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
					g.log.cut(0)
					r := g.open()
					ctx := testContext(t)
					m := newMirror()
					require.NoError(t, m.follow(ctx, r, map[int32]int64{0: 3}))
					frames := g.plane.tries.Load()
					if behind { // both frames are known before the cut is reached
						g.tail.hold()
					}
					end := g.log.append(0, "k1", "5")
					g.log.cut(0)
					if behind {
						require.Eventually(t, func() bool { return r.partitions[0].waitsFor(end) }, guard, time.Millisecond)
					} else {
						g.awaitVerdict(end, Equal)
						require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
					}
					before := r.Positions()
					for start := int64(1); start <= 3; start += 2 { // k0, then k2
						require.Equal(t, end, g.log.cutExpiring(0, start))
						if behind {
							require.Eventually(t, func() bool { return r.partitions[0].waitsForStart(end, start) }, guard, time.Millisecond)
							continue
						}
						g.await("the log start", func() bool { return r.partitions[0].startIs(start) })
						require.Equal(t, g.log.state(0), g.state())
						require.Equal(t, Equal, r.Verify(ctx)[0].Outcome)
					}
					g.tail.release()
					require.NoError(t, r.WaitFor(ctx, 0, end))
					require.Equal(t, map[string]string{"k1": g.log.state(0)["k1"]}, g.state())
					for _, from := range []*mirror{m, {state: map[string]string{"k0": "1", "k1": "?", "k2": "1"}, at: before}} {
						for c, err := range r.Watch(ctx, maps.Clone(from.at)) {
							require.NoError(t, err)
							if from.take(c); from.at[0].Start == 3 {
								break
							}
						}
						require.NotContains(t, from.state, "k0")
						require.NotContains(t, from.state, "k2")
						require.Equal(t, Position{Incarnation: before[0].Incarnation, Offset: end, Start: 3}, from.at[0])
					}
					end = g.log.append(0, "k0", "7") // onto nothing
					require.NoError(t, r.WaitFor(ctx, 0, end))
					require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
					require.Equal(t, g.log.state(0), m.state)
					require.Equal(t, "7", m.state["k0"])
					g.awaitVerdict(g.log.cut(0), Equal)
					require.Equal(t, frames, g.plane.tries.Load(), "a frame was loaded")
					require.Zero(t, g.outcomes()[Drifted])
				})
			}
		}
	})
}

// Whoever waits in Watch hears of rows that expire on an idle topic, though no delta comes any more.
func TestWatchWaitsForRowsToExpire(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
		g.log.cut(0)
		r := g.open()
		ctx, cancel := context.WithTimeout(testContext(t), guard)
		next, stop := pullChanges(r.Watch(ctx, nil))
		defer func() { cancel(); stop() }()
		for range 3 {
			_, err := next()
			require.NoError(t, err)
		}
		for start := int64(1); start <= 3; start++ {
			g.log.cutExpiring(0, start)
			c, err := next()
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("k%d", start-1), string(c.Key))
			require.True(t, c.Deleted && c.Expired)
			require.Equal(t, start, c.Next.Start)
		}
	})
}

// A counter was folded onto a row that was gone, so the frame is loaded anew, at a cut behind the replica's position. Whoever had that position from
// Watch has the wrong value: he begins anew, and is not left with it.
func TestWatchAfterAStateThatWasWrong(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1")
		g.log.cut(0)
		r := g.open()
		ctx := testContext(t)
		m := newMirror()
		require.NoError(t, m.follow(ctx, r, map[int32]int64{0: 2}))
		g.plane.hidden.Store(true)
		g.log.cutExpiring(0, 1)
		end := g.log.append(0, "k0", "5")
		require.NoError(t, r.WaitFor(ctx, 0, end))
		require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
		require.Equal(t, map[string]string{"k0": "6", "k1": "1"}, m.state)
		frames := g.plane.tries.Load()
		g.plane.hidden.Store(false)
		g.log.changed.notify()
		g.await("the right state", func() bool {
			return g.plane.tries.Load() > frames && r.partitions[0].startIs(1) && g.state()["k0"] == "5"
		})
		var reset *WatchResetError
		for c, err := range r.Watch(ctx, maps.Clone(m.at)) {
			require.ErrorAs(t, err, &reset, "%+v", c)
		}
		m = newMirror()
		require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
		require.Equal(t, g.log.state(0), m.state)
	})
}

// What has expired at a position that did not move is not known to a replica that was not there: who was, and comes back, begins anew.
func TestWatchIsResetAfterRowsExpiredElsewhere(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, unseen := range []bool{false, true} { // not by another replica, or by this one before somebody watched
			g := newRig(t, fold.LastValue, 1)
			g.cfg.Store = store()
			g.log.append(0, "k0", "1", "k1", "1")
			g.log.cut(0)
			from := Positions{0: {Incarnation: g.log.parts[0].incarnation, Offset: 2}}
			if !unseen {
				g.log.cutExpiring(0, 1)
			}
			r := g.open()
			if unseen {
				g.log.cutExpiring(0, 1)
				g.await("the log start", func() bool { return r.partitions[0].startIs(1) })
			}
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			for c, err := range r.Watch(ctx, from) {
				var reset *WatchResetError
				if unseen && err == nil && r.partitions[0].rows().perRecord() { // memory keeps changes always
					require.True(t, c.Expired)
					break
				}
				require.ErrorAs(t, err, &reset)
				require.EqualValues(t, 1, reset.Horizon.Start)
			}
		}
	})
}

// waitsForStart tells whether it is the frame of a log start that waitsFor a cut.
func (p *partition) waitsForStart(cut, start int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.pending, func(f plane.Frame) bool { return f.Cut == cut && f.Start == start })
}

// waitsFor tells whether a frame is to be compared when its cut is reached.
func (p *partition) waitsFor(cut int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.pending, func(f plane.Frame) bool { return f.Cut == cut })
}

func (p *partition) startIs(offset int64) bool {
	return p.start.Load() == offset
}

// A log start that moves after a state is shown, and before it is followed, is no less heard of: on an idle topic nothing else will tell.
func TestRowsExpireBeforeTheStateIsFollowed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k0", "1", "k1", "1", "k2", "1")
		g.log.cut(0)
		p := g.open().partitions[0]
		p.unfollow()
		g.log.cutExpiring(0, 1)
		require.Eventually(t, func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.known[len(p.known)-1].Start == 1
		}, guard, time.Millisecond)
		p.follow()
		g.requireState(0)
	})
}

// A state that was folded on rows which had expired is not marked as one that respects the log start: it may be closed before the frame is loaded that takes its
// place, and would be found to have drifted when it is opened again.
func TestStateFoldedOnExpiredRowsIsNotKeptAsExpired(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for name, learn := range map[string]func(*partition, plane.Frame){
			"at a cut": func(p *partition, f plane.Frame) {
				p.pending = []plane.Frame{f}
				v, err := p.comparePendingLocked(p.rows())
				require.NoError(t, err)
				require.Equal(t, Inconclusive, v.Outcome)
			},
			"behind it": func(p *partition, f plane.Frame) { p.startPassedLocked(p.rows(), f) },
		} {
			t.Run(name, func(t *testing.T) {
				g := newRig(t, fold.Counter, 1)
				g.cfg.Store = store()
				g.log.append(0, "a", "1", "b", "1", "a", "2")
				g.open()
				g.requireState(0)
				p := g.r.partitions[0]
				awaitFollowing(t, p)
				p.mu.Lock()
				defer p.mu.Unlock()
				id := p.rows().identity()
				learn(p, plane.Frame{TopicID: id.TopicID, Incarnation: id.Incarnation, Cut: 3, Start: 2, Digest: digest.Digest{Count: 1}}) // of a: 2, in the log
				require.Zero(t, p.rows().logStart())
				require.False(t, p.following)
			})
		}
	})
}

// Rows leave at the cut of a frame while the state is made equal to it: the verdict is that of the frame, with its log start.
func TestRowsExpireWithinARepair(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 100, store())
		var once sync.Once
		g.cfg.OnDifference = func(d Difference) {
			once.Do(func() {
				g.log.cutExpiring(0, 1)
				p := g.r.partitions[0]
				require.Eventually(saying{t}, func() bool { return p.heardOf(d.Cut, 1) }, guard, time.Millisecond)
			})
		}
		g.start()
		cut := g.drift(10)
		g.await("the repair", func() bool { _, ok := g.saw(Repaired); return ok && g.r.partitions[0].startIs(1) })
		g.await("its verdict", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return slices.ContainsFunc(g.verdicts, func(v Verdict) bool { return v.At == cut && v.Outcome == Equal && v.start == 0 })
		})
	})
}

func (p *partition) heardOf(cut, start int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.known, func(f plane.Frame) bool { return f.Cut == cut && f.Start == start })
}
