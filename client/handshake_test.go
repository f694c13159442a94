package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// asked keeps what the fake plane was asked and answered.
type asked struct {
	mu      sync.Mutex
	asked   []*state.ResumeRequest
	answers []state.Answer
}

// spy records each handshake, after alter (which may be nil) had its way with the answer; try counts from 1.
func (g *rig) spy(alter func(try int, m *state.ResumeResponse)) *asked {
	a := &asked{}
	fn := func(req *state.ResumeRequest, m *state.ResumeResponse) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.asked = append(a.asked, req); alter != nil {
			alter(len(a.asked), m)
		}
		a.answers = append(a.answers, m.Answer)
	}
	g.plane.alter.Store(&fn)
	return a
}

func (a *asked) request(i int) *state.ResumeRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[i]
}

func (a *asked) all() []state.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]state.Answer(nil), a.answers...)
}

// reason is the typed reason that the first event of a kind had.
func (g *rig) reason(kind EventKind) state.Reason {
	e, _ := g.saw(kind)
	var why *ReasonError
	if errors.As(e.Err, &why) {
		return why.Reason
	}
	return 0
}

// forget forgets what was said.
func (g *rig) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events, g.verdicts = nil, nil
}

// count is how many events of a kind there were.
func (g *rig) count(kind EventKind) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// stored leaves a directory with a state of four keys, verified at its frame and at its position, and returns the position.
func (g *rig) stored() int64 {
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.log.lead(0, 3)
	g.overwrite("a")
	g.open()
	end := g.overwrite("b")
	g.requireState(0)
	g.awaitVerdict(end, Equal)
	require.NoError(g.t, g.r.Close())
	g.forget()
	return end
}

// A replica tells who it is, where it is, in which leader epoch, and where it was equal to the log; and goes on where the log says so.
func TestContinue(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	end := g.stored()
	a := g.spy(nil)
	loads := g.plane.tries.Load()
	g.log.append(0, "k0", "c")
	g.open()
	g.requireState(0)
	require.Equal(t, []state.Answer{state.Answer_ANSWER_CONTINUE}, a.all())
	require.Equal(t, loads, g.plane.tries.Load())
	_, resumed := g.saw(Resumed)
	require.True(t, resumed)

	req := a.request(0)
	require.Equal(t, g.r.Name(), req.Replica)
	require.Equal(t, int32(3), req.LeaderEpoch)
	require.Equal(t, g.log.parts[0].incarnation[:], req.Incarnation)
	require.Len(t, req.Points, 2)
	require.Equal(t, []int64{end, 4}, []int64{req.Points[0].Offset, req.Points[1].Offset})
	for _, x := range req.Points {
		d := digestOf(g.log.parts[0].states[x.Offset])
		sum := d.Sum.Bytes()
		require.Equal(t, d.Count, x.Count)
		require.Equal(t, sum[:], x.Sum)
	}
}

// Without a frame and without a state, a replica begins empty where the log says.
func TestBeginsEmpty(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		a := g.spy(nil)
		g.log.append(0, "n", "1")
		g.log.append(0, "n", "2")
		g.open()
		g.requireState(0)
		require.Equal(t, map[string]string{"n": "3"}, g.state())
		require.Equal(t, []state.Answer{state.Answer_ANSWER_CONTINUE}, a.all())
		require.Empty(t, a.request(0).Incarnation)
		require.Empty(t, a.request(0).Points)
	})
}

// A state of no use is told with the log's reason, and another takes its place; the stored one goes only then.
func TestReset(t *testing.T) {
	cases := map[string]struct {
		change func(g *rig)
		kind   EventKind
		reason state.Reason
	}{
		"other incarnation": {func(g *rig) { g.log.create(2, 1) }, NewIncarnation, state.Reason_REASON_OTHER_INCARNATION},
		"from the future":   {func(g *rig) { g.log.cutOff(0, 4) }, OutOfRange, state.Reason_REASON_FUTURE_POSITION},
	}
	for name, c := range cases {
		for _, frames := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/frame %v", name, frames), func(t *testing.T) {
				g := newRig(t, fold.LastValue, 1)
				end := g.stored()
				c.change(g)
				g.log.append(0, "x", "1")
				if frames {
					g.log.cut(0)
				} else {
					g.log.parts[0].cuts = nil
				}
				a := g.spy(nil)
				g.open()
				g.requireState(0)
				require.Equal(t, c.reason, g.reason(c.kind))
				want := []state.Answer{state.Answer_ANSWER_RESET}
				if !frames {
					want = append(want, state.Answer_ANSWER_CONTINUE)
				}
				require.Equal(t, want, a.all())
				require.Equal(t, end, a.request(0).Points[0].Offset)
				require.Eventually(t, func() bool {
					ordinals, err := g.r.stores.(*dirStores).db.Ordinals()
					require.NoError(t, err)
					return len(ordinals) <= 1
				}, 15*time.Second, time.Millisecond, "the former state is gone")
				require.Zero(t, g.outcomes()[Drifted])
			})
		}
	}
}

// A directory of a position from the future keeps what it has until another state is verified.
func TestResetLosesNothing(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.stored()
	g.log.create(2, 1)
	g.log.append(0, "x", "1")
	g.log.cut(0)
	damage := func(_ int, b []byte) []byte { b[len(b)-1] ^= 1; return b }
	g.plane.fault.Store(&damage)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := openReplica(ctx, g.cfg.withDefaults(), g.tail)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, rejected := g.saw(FrameRejected)
	require.True(t, rejected)

	g.cfg.Topic, g.cfg.StateURL, g.cfg.From = g.log.topic, "", FromEarliest // nobody tells it that the log is another one
	g.tail.hold()
	g.open()
	require.Len(t, g.state(), 4, "the stored state is still there")
}

// Where a point differs from the log's, and nothing repairs, the frame is loaded; where none lies above the position, the newest there is.
func TestPointDiffers(t *testing.T) {
	for _, above := range []bool{true, false} {
		g := newRig(t, fold.LastValue, 1)
		end := g.stored()
		g.log.mu.Lock()
		row := g.log.parts[0].states[end]["k1"]
		row.Value = []byte("z")
		g.log.parts[0].states[end]["k1"] = row
		g.log.mu.Unlock()
		a := g.spy(func(_ int, m *state.ResumeResponse) {
			if !above && m.Answer == state.Answer_ANSWER_REPAIR {
				m.Frame, m.From = nil, end
			}
		})
		g.open()
		want := []state.Answer{state.Answer_ANSWER_REPAIR}
		if !above {
			want = append(want, state.Answer_ANSWER_FRAME)
		}
		require.Equal(t, want, a.all())
		require.Equal(t, "z", g.state()["k1"])
		require.NoError(t, g.r.Close())
	}
}

// What the log answers is checked before anything is done with it.
func TestBadAnswers(t *testing.T) {
	for name, spoil := range map[string]func(*state.ResumeResponse){
		"none":                  func(m *state.ResumeResponse) { m.Answer = 0 },
		"unknown":               func(m *state.ResumeResponse) { m.Answer = 99 },
		"frame without a frame": func(m *state.ResumeResponse) { m.Answer, m.Frame = state.Answer_ANSWER_FRAME, nil },
		"frame of another sum":  func(m *state.ResumeResponse) { m.Answer, m.Frame.Count = state.Answer_ANSWER_FRAME, 77 },
		"frame of another log": func(m *state.ResumeResponse) {
			m.Answer, m.Partition.Incarnation = state.Answer_ANSWER_FRAME, make([]byte, 16)
		},
		"continue elsewhere":       func(m *state.ResumeResponse) { m.From++ },
		"another partition":        func(m *state.ResumeResponse) { m.Partition.Partition = 1 },
		"no partition":             func(m *state.ResumeResponse) { m.Partition = nil },
		"delta from elsewhere":     func(m *state.ResumeResponse) { m.Answer, m.Since = state.Answer_ANSWER_DELTA, 1 },
		"delta that ends before":   func(m *state.ResumeResponse) { m.Answer, m.Since, m.Frame.Cut = state.Answer_ANSWER_DELTA, m.From, 1 },
		"incarnation of odd bytes": func(m *state.ResumeResponse) { m.Partition.Incarnation = []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			end := g.stored()
			a := g.spy(func(try int, m *state.ResumeResponse) {
				if m.Frame = g.log.frameOf(0, end); try == 2 {
					spoil(m)
				}
			})
			g.open()
			g.requireState(0)
			g.r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange, resume: true})
			g.log.append(0, "k0", "c")
			g.requireState(0)
			require.Len(t, a.all(), 3, "it is asked again")
			e, seen := g.saw(BootstrapFailed)
			require.True(t, seen)
			require.ErrorIs(t, e.Err, errBadAnswer)
		})
	}
}

// A log of before, which knows no handshake, is replicated as before.
func TestWithoutHandshake(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.old.Store(true)
		g.lagging()
		g.overwrite("b")
		g.overwrite("c")
		g.log.trim(0)
		g.log.append(0, "y", "1")
		g.tail.release()
		g.requireState(0)
		_, seen := g.saw(OutOfRange)
		require.True(t, seen)
		require.NoError(t, g.r.Close())
		g.open()
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// A frame that the log start has moved over since the answer is another one: the log is asked again.
func TestFrameOfTheAnswerIsPinned(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.overwrite("a")
		g.log.append(0, "x", "1")
		g.log.cut(0)
		a := g.spy(func(try int, m *state.ResumeResponse) {
			if try == 1 {
				g.log.cutExpiring(0, 2)
			}
		})
		g.open()
		g.requireState(0)
		require.Len(t, a.all(), 2)
		require.NotContains(t, g.state(), "k0")
		require.Equal(t, int64(2), g.r.Positions()[0].Start)
	})
}

// ---- deltas ----

// behind leaves an open replica at position 5, with the log trimmed above: what changed since is deletions of k0 and k1, and k2.
func (g *rig) behind() (cut int64) {
	g.lagging()
	g.log.append(0, "k0", "b", "k1", "b", "k2", "b")
	g.log.append(0, "k0", "-", "k1", "-", "k2", strings.Repeat("c", 1000))
	cut = g.log.cut(0)
	g.log.trim(0)
	return cut
}

// A replica whose position was trimmed is given what changed, each key once, deletions included, and no frame; those who watch are told.
func TestDelta(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "k9", "a")
		a := g.spy(nil)
		cut := g.behind()
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(g.r.Watch(ctx, g.r.Positions()))
		defer func() { cancel(); stop() }()
		go g.tail.release()
		for _, want := range []string{"k0 deleted", "k1 deleted", "k2 cc"} {
			c, err := next()
			require.NoError(t, err)
			got := string(c.Key) + " " + string(c.Value[:min(2, len(c.Value))])
			if c.Deleted {
				got = string(c.Key) + " deleted"
			}
			require.Equal(t, want, got)
			if want == "k2 cc" {
				require.Equal(t, cut, c.Next.Offset, "who has the last has all")
			} else {
				require.Equal(t, c.Offset+1, c.Next.Offset)
			}
		}
		g.requireState(0)
		g.log.append(0, "k0", "d")
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_DELTA}, a.all()[len(a.all())-2:])
		e, _ := g.saw(CaughtUp)
		require.Equal(t, cut, e.Offset)
		require.Equal(t, int64(3), e.Rows)
		require.Equal(t, int64(2), g.plane.tries.Load(), "the frame at first, then the delta")
		g.awaitLease(1, "the release", func(l fakeLease) bool { return l.released })
		g.awaitVerdict(g.log.cut(0), Equal)
		require.Zero(t, g.outcomes()[Drifted])
	})
}

// A delta's stream that breaks is read on where it broke.
func TestBrokenDeltaIsResumed(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.behind()
		first := int(g.plane.tries.Load())
		cutShort := func(try int, b []byte) []byte {
			if try < first+5 {
				return b[:min(len(b), 200)]
			}
			return b
		}
		g.plane.fault.Store(&cutShort)
		g.tail.release()
		g.requireState(0)
		require.Equal(t, int64(first+5), g.plane.tries.Load())
		_, caught := g.saw(CaughtUp)
		require.True(t, caught)
		_, rejected := g.saw(FrameRejected)
		require.False(t, rejected)
	})
}

// Nothing of a delta is visible before all of it is verified: readers have the former state as long as it is damaged, and each attempt is an
// event.
func TestDamagedDeltaIsNeverVisible(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.behind()
		former := g.state()
		at := g.r.Positions()
		var off atomic.Bool
		damage := func(try int, b []byte) []byte {
			if !off.Load() {
				b[len(b)*(try%7+1)/8] ^= 1
			}
			return b
		}
		g.plane.fault.Store(&damage)
		g.tail.release()
		g.await("five attempts", func() bool {
			require.Equal(t, former, g.state())
			require.Equal(t, at, g.r.Positions())
			return g.count(FrameRejected) >= 5
		})
		off.Store(true)
		g.requireState(0)
	})
}

// Where what changed does not lead from our state to the frame, the frame is loaded; what the drifted state had too much goes.
func TestDeltaOnADriftedState(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.tail.fault = func(s segment) []segment {
			if len(s.records) == 1 && string(s.records[0].Key) == "x" {
				s.records = append([]batch.Record(nil), s.records...)
				s.records[0].Key = []byte("y")
			}
			return []segment{s}
		}
		a := g.spy(nil)
		for i := range 4 {
			g.log.append(0, fmt.Sprint("k", i), "a")
		}
		g.log.cut(0)
		g.open()
		end := g.log.append(0, "x", "1")
		require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
		require.Contains(t, g.state(), "y")
		g.tail.hold()
		g.overwrite("b")
		g.overwrite("c")
		g.log.trim(0)
		g.tail.release()
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_DELTA, state.Answer_ANSWER_FRAME}, a.all())
		_, rejected := g.saw(FrameRejected)
		require.True(t, rejected)
	})
}

// A delta without rows, where all that happened was aborted, has an end mark all the same.
func TestEmptyDelta(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.abort(0, 3)
		cut := g.log.cut(0)
		g.log.trim(0)
		g.log.append(0, "z", "1")
		g.tail.release()
		g.requireState(0)
		e, caught := g.saw(CaughtUp)
		require.True(t, caught)
		require.Equal(t, cut, e.Offset)
		require.Zero(t, e.Rows)
	})
}

// Below the horizon deletions are not known any more: there is no delta, and the frame is loaded.
func TestNoDeltaBelowTheHorizon(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		a := g.spy(nil)
		g.behind()
		g.log.expire(0)
		g.tail.release()
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_FRAME}, a.all())
	})
}

// Rows that the log start has passed leave with the delta, and watchers are told that nobody deleted them.
func TestDeltaWithRowsThatExpire(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.lagging()
		g.log.append(0, "k0", "b", "k3", "b")
		g.log.append(0, "k3", "c")
		g.log.cutExpiring(0, 3)
		g.log.trim(0)
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(g.r.Watch(ctx, g.r.Positions()))
		defer func() { cancel(); stop() }()
		go g.tail.release()
		gone := map[string]bool{}
		for len(gone) < 2 {
			c, err := next()
			require.NoError(t, err)
			if c.Deleted {
				require.True(t, c.Expired)
				gone[string(c.Key)] = true
			}
		}
		require.Equal(t, map[string]bool{"k1": true, "k2": true}, gone)
		g.requireState(0)
		require.Equal(t, int64(3), g.r.Positions()[0].Start)
		_, caught := g.saw(CaughtUp)
		require.True(t, caught)
	})
}

// ---- leases ----

// awaitLease waits until cond holds for lease i.
func (g *rig) awaitLease(i int, what string, cond func(l fakeLease) bool) {
	deadline := time.After(15 * time.Second)
	for {
		changed := g.plane.leases.changed.wait()
		if all := g.plane.leases.all(); len(all) > i && cond(all[i]) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			g.t.Fatalf("never: %s; leases %+v", what, g.plane.leases.all())
		}
	}
}

// slowFrame lets frames get no further than their middle until it is called.
func (g *rig) slowFrame() (finish func()) {
	gate := make(chan struct{})
	var once sync.Once
	slow := func(try int, b []byte) []byte {
		if try == 1 {
			return b[:len(b)/2]
		}
		<-gate
		return b
	}
	g.plane.fault.Store(&slow)
	finish = func() { once.Do(func() { close(gate) }) }
	g.t.Cleanup(finish)
	return finish
}

// A lease is renewed while its frame loads, with nothing reached, then with the position, until the replica is where the log ended when
// it was given.
func TestLeaseIsRenewedUntilTheTailIsJoined(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "big", strings.Repeat("v", 100_000))
		g.log.cut(0)
		g.log.append(0, "a", "1")
		g.tail.hold()
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "renewals while it loads", func(l fakeLease) bool { return l.renewals >= 3 && l.position == -1 && !l.released })
		finish()
		<-opened
		g.awaitLease(0, "a renewal with the position", func(l fakeLease) bool { return l.position == 1 && !l.released })
		g.tail.release()
		g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released && l.position == 2 })
		g.requireState(0)
		require.Len(t, g.plane.leases.all(), 1)
		_, ended := g.saw(LeaseEnded)
		require.False(t, ended)
	})
}

// A replica that closes gives its lease up.
func TestLeaseIsReleasedByClose(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.log.append(0, "a", "2")
	g.tail.hold()
	r := g.open()
	require.NoError(t, r.Close())
	g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released })
}

// A lease that the log ends while a slow frame loads is an event with the log's reason. What is loaded is kept, and the log is asked how it goes
// on from there.
func TestLeaseEndsWhileAFrameLoads(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "big", strings.Repeat("v", 100_000))
		cut := g.log.cut(0)
		g.log.append(0, "a", "1")
		a := g.spy(nil)
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "the lease", func(fakeLease) bool { return true })
		g.plane.leases.end(state.Reason_REASON_LEASE_EXPIRED)
		require.Eventually(t, func() bool { return g.reason(LeaseEnded) == state.Reason_REASON_LEASE_EXPIRED }, 15*time.Second, time.Millisecond)
		finish()
		<-opened
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_CONTINUE}, a.all())
		require.Equal(t, cut, a.request(1).Points[0].Offset)
		require.Equal(t, int64(2), g.plane.tries.Load(), "the frame was loaded once")
	})
}

// A lease that ends while the replica follows, but has not joined the tail yet, has it ask again.
func TestLeaseEndsOnTheWayToTheTail(t *testing.T) {
	for _, why := range []state.Reason{state.Reason_REASON_LEASE_EXPIRED, state.Reason_REASON_LEASE_REVOKED, state.Reason_REASON_TOPIC_DELETED} {
		g := newRig(t, fold.LastValue, 1)
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "a", "1")
		g.log.cut(0)
		g.log.append(0, "a", "2")
		a := g.spy(nil)
		g.tail.hold()
		g.open()
		g.plane.leases.end(why)
		g.await("the event", func() bool { return g.reason(LeaseEnded) == why })
		g.tail.release()
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_CONTINUE}, a.all())
		require.NoError(t, g.r.Close())
	}
}

// However fast the log is trimmed, a slow replica with a lease finds what it needs, from the frame to the tail, and what is held follows it.
func TestTrimmingBesideASlowReplica(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 10 * time.Millisecond
		g.log.append(0, "n", "1")
		cut := g.log.cut(0)
		g.log.append(0, "n", "1")
		a := g.spy(nil)
		g.tail.hold()
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "the lease", func(fakeLease) bool { return true })
		write := func() {
			for range 20 {
				g.log.append(0, "n", "1", "m", "1")
				g.log.append(0, "n", "1")
				g.log.cut(0)
				g.log.trimTo(0, g.plane.leases.from())
			}
		}
		write()
		finish()
		<-opened
		write()
		g.awaitLease(0, "the position", func(l fakeLease) bool { return l.position == cut })
		g.tail.release()
		g.requireState(0)
		g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released })
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME}, a.all())
		g.log.trimTo(0, g.plane.leases.from())
		g.log.mu.Lock()
		defer g.log.mu.Unlock()
		require.Equal(t, g.log.parts[0].end, g.log.parts[0].deltaStart, "nothing is held any more")
	})
}
