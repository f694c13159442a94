package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// While replicas agree with one another and not with the broker, its whole frames take the place of no state either: who would bootstrap anew after a
// drift, or because rows have rotted, stays as he is and follows on, is refused at every frame, and is made equal once the dispute is over.
func TestNoWholeFrameFromADisputedBroker(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store())
		g.cfg.OnDrift = Rebootstrap
		g.start()
		disputed := func(call string) state.Reason {
			if call == "resume" {
				return state.Reason_REASON_DISPUTED
			}
			return state.Reason_REASON_UNSPECIFIED
		}
		g.plane.repair.refuse.Store(&disputed)
		want, frames := g.state(), g.plane.tries.Load()
		for n := range 2 {
			g.drift(30)
			g.await("the refusal", func() bool { return g.count(RepairRefused) == n+1 })
			e, _ := g.saw(RepairRefused)
			require.ErrorIs(t, e.Err, ErrUnrepairable)
			g.lose = false
			key := fmt.Sprint("goes on ", n)
			end := g.log.append(0, key, "on")
			require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
			want[key] = "on"
			require.Equal(t, want, g.state())
		}
		require.Equal(t, frames, g.plane.tries.Load())
		require.Equal(t, 1, g.count(Bootstrapped))
		require.NoError(t, g.r.Err())

		g.plane.repair.refuse.Store(nil)
		g.drift(2)
		g.await("the whole frame", func() bool { return g.count(Bootstrapped) == 2 })
		g.lose = false
		g.log.append(0, "last", "1")
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
	})
}

// watched is what a watcher of the only partition was told, and where it is.
func (g *rig) watched(from Positions, end int64) *mirror {
	g.t.Helper()
	m := newMirror()
	m.at = from
	require.NoError(g.t, m.follow(testContext(g.t), g.r, map[int32]int64{0: end}))
	return m
}

// requireReset says that nobody goes on watching from a position.
func (g *rig) requireReset(from Position) {
	g.t.Helper()
	var reset *WatchResetError
	for c, err := range g.r.Watch(testContext(g.t), Positions{0: from}) {
		require.ErrorAs(g.t, err, &reset, "%+v", c)
	}
	require.NotNil(g.t, reset)
	require.Greater(g.t, reset.Horizon.Offset, from.Offset)
}

// A log that lost its end and grew again has other records where a watcher was told of some: whoever comes back with such a position begins anew, while
// the replica is open and after it was opened again. A watcher that was waiting is told of the difference.
func TestWatchersOfALogThatLostItsEnd(t *testing.T) {
	for name, reason := range map[string]state.Reason{
		"above the end": state.Reason_REASON_FUTURE_POSITION, "another branch": state.Reason_REASON_DIVERGED, "no state plane": 0,
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newRig(t, fold.LastValue, 1)
				if g.cfg.Store = store(); reason == 0 {
					g.cfg.StateURL, g.cfg.From = "", FromEarliest
				}
				g.log.append(0, "a", "1")
				g.log.cut(0)
				g.open()
				end := g.log.append(0, "lost", "1", "b", "1")
				g.requireState(0)
				m := g.watched(nil, end)
				lost := g.r.Positions()[0]
				ctx, cancel := context.WithCancel(testContext(t))
				defer cancel()
				next, stop := pullChanges(g.r.Watch(ctx, Positions{0: lost}))
				defer stop()

				g.tail.hold()
				g.log.cutOff(0, 1)
				if reason == state.Reason_REASON_DIVERGED { // it has grown beyond again
					g.log.append(0, "other", "1", "c", "1", "d", "1", "e", "1")
					g.log.cut(0)
					g.spy(func(try int, a *state.ResumeResponse) {
						if try == 1 {
							a.Answer, a.Reason, a.Frame = state.Answer_ANSWER_RESET, reason, g.log.frameOf(0, 5)
						}
					})
				}
				g.tail.release()
				if reason == state.Reason_REASON_DIVERGED {
					g.r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange, resume: true})
				}
				g.await("the reset", func() bool { return g.count(Bootstrapped) == 2 })
				if reason != 0 {
					require.True(t, g.gave(reason))
				}
				g.log.append(0, "later", "1", "later", "2", "later", "3", "later", "4")
				g.requireState(0)
				require.Greater(t, g.r.Positions()[0].Offset, lost.Offset)
				for m.state["lost"] != "" || m.state["later"] != "4" {
					c, err := next()
					require.NoError(t, err)
					m.take(c)
				}
				require.Equal(t, g.log.state(0), m.state)
				g.requireReset(lost)
				at := g.r.Positions()
				end = g.log.append(0, "more", "1")
				require.Equal(t, map[string]string{"more": "1"}, g.watched(at, end).state, "who was told since goes on")
				if g.cfg.Store.dir == "" {
					return
				}
				cancel()
				require.NoError(t, g.r.Close())
				g.spy(nil)
				g.open()
				g.log.append(0, "again", "1")
				g.requireState(0)
				g.requireReset(lost)
			})
		})
	}
}

// A directory that is found to be of another branch when it is opened was that of a watcher too, who comes back later.
func TestWatchersOfADirectoryFromTheFuture(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	end := g.stored()
	lost := Position{Incarnation: g.log.parts[0].incarnation, Offset: end}
	g.log.cutOff(0, 4)
	for range 2 {
		g.open()
		for range 6 {
			g.log.append(0, "x", "1")
		}
		g.requireState(0)
		require.Greater(t, g.r.Positions()[0].Offset, end)
		g.requireReset(lost)
		require.NoError(t, g.r.Close())
	}
	g.log.create(2, 1) // a new life: nothing was told of it yet
	g.log.append(0, "x", "1")
	g.open()
	g.requireState(0)
	require.Zero(t, g.r.stores.distrusted(0))
	at := g.r.Positions()[0]
	g.log.append(0, "y", "1")
	require.Equal(t, map[string]string{"y": "1"}, g.watched(Positions{0: at}, 2).state)
}

// It stays so where another state takes its place for another reason.
func TestWatchersOfADirectoryThatIsReplacedAgain(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	end := g.stored()
	lost := Position{Incarnation: g.log.parts[0].incarnation, Offset: end}
	g.log.cutOff(0, 4)
	g.open()
	g.requireState(0)
	require.NoError(t, g.r.Close())
	g.log.append(0, "k0", "b")
	g.log.append(0, "k0", "-")
	require.Less(t, g.log.cut(0), end)
	g.log.trim(0)
	g.log.expire(0)
	g.forget()
	g.open()
	require.Equal(t, 1, g.count(Bootstrapped), "below the horizon")
	for range 6 {
		g.log.append(0, "x", "1")
	}
	g.requireState(0)
	g.requireReset(lost)
}

// What takes the place of a state that was wrong is not what its watchers were told of, also where a directory is opened again.
func TestWatchersOfAStateThatWasReplaced(t *testing.T) {
	g := newDriftRig(t, 50, DirFS(vfs.NewMem(), "replica"))
	g.cfg.OnDrift = Rebootstrap
	g.start()
	cut := g.drift(5)
	g.await("the frame", func() bool { return g.count(Bootstrapped) == 2 })
	wrong := Position{Incarnation: g.log.parts[0].incarnation, Offset: cut}
	g.requireReset(wrong)
	require.NoError(t, g.r.Close())
	g.open()
	g.lose = false
	g.log.append(0, "x", "1")
	g.requireState(0)
	g.requireReset(wrong)
}

// So it is where the log says that the state differs and does not reach back to it, also where what takes its place lies below: the replica comes by that position
// again, with other rows.
func TestWatchersOfAStateThatTheLogDoesNotReach(t *testing.T) {
	for name, shown := range map[string]bool{"while it runs": true, "opened again": false} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.stored()
			g.open()
			end := g.log.append(0, "k0", "c")
			g.requireState(0)
			wrong := Position{Incarnation: g.log.parts[0].incarnation, Offset: end}
			require.Equal(t, Positions{0: wrong}, g.r.Positions())
			if !shown {
				require.NoError(t, g.r.Close())
			}
			g.log.rewrite(0, "k1", "z")
			a := g.spy(func(try int, m *state.ResumeResponse) {
				if try == 1 {
					m.Partition.DeltaStartOffset = 1 << 40
					require.Less(t, m.Frame.Cut, end)
				}
			})
			if shown {
				g.r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange, resume: true})
			} else {
				g.open()
			}
			g.await("the log's row", func() bool { return g.state()["k1"] == "z" })
			require.Equal(t, []state.Answer{state.Answer_ANSWER_REPAIR}, a.all())
			for range 2 {
				g.log.append(0, "x", "1")
				g.requireState(0)
				g.requireReset(wrong)
				require.NoError(t, g.r.Close())
				g.open()
			}
		})
	}
}

// gave tells whether an event had the log's reason.
func (g *rig) gave(reason state.Reason) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.events, func(e Event) bool {
		var why *ReasonError
		return errors.As(e.Err, &why) && why.Reason == reason
	})
}

// Between where a drift was found and the cut at which it is put right the state is as wrong as before: who was told of that begins anew too.
func TestWatchersOnTheWayToARepair(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 50, store()).start()
		g.plane.hidden.Store(true)
		g.log.mu.Lock()
		g.lose = true
		g.log.mu.Unlock()
		found := g.log.append(0, "k000000001", "x", "k000000002", "-")
		require.NoError(t, g.r.WaitFor(testContext(t), 0, found))
		g.tail.hold()
		g.lose = false
		between := g.log.append(0, "one", "2")
		cut := g.log.append(0, "one", "3")
		require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
		g.tail.release()
		g.awaitRepair(cut, BySketch)
		require.EqualValues(t, 1, g.plane.repair.resumes.Load())
		for _, at := range []int64{found, between, cut} {
			g.requireReset(Position{Incarnation: g.log.parts[0].incarnation, Offset: at})
		}
	})
}
