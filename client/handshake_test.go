package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
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
	g.told()
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
				}, guard, time.Millisecond, "the former state is gone")
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
	require.ErrorIs(t, g.cancelOn(FrameRejected), context.Canceled)

	g.cfg.Topic, g.cfg.StateURL, g.cfg.From = g.log.topic, "", FromEarliest // nobody tells it that the log is another one
	g.tail.hold()
	g.open()
	require.Len(t, g.state(), 4, "the stored state is still there")
}

// rewrite has the log have had another value of a key all along.
func (l *fakeLog) rewrite(p int32, key, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.parts[p]
	for i, b := range part.batches {
		part.batches[i].records = slices.Clone(b.records)
		for j := range b.records {
			if r := &part.batches[i].records[j]; string(r.Key) == key {
				r.Value = []byte(value)
			}
		}
	}
	for cut := range part.states {
		part.states[cut] = l.stateLocked(p, cut)
	}
}

// Where a point differs from the log's, the state is repaired, key by key: at the frame of the answer or, where none lies above the position, at
// one that the comparison at the position asks for. With the policy Rebootstrap, and where the log does not reach back to the position, the frame is
// loaded.
func TestPointDiffers(t *testing.T) {
	for name, c := range map[string]struct {
		alter  func(m *state.ResumeResponse)
		policy Policy
		asked  int
		loaded bool
	}{
		"a frame above":  {nil, Repair, 1, false},
		"no frame above": {func(m *state.ResumeResponse) { m.Frame = nil }, Repair, 2, false},
		"rebootstrap":    {nil, Rebootstrap, 2, true},
		"trimmed":        {func(m *state.ResumeResponse) { m.Partition.DeltaStartOffset = 1 << 40 }, Repair, 1, true},
		"deleted":        {func(m *state.ResumeResponse) { m.Partition.LogStartOffset = 1 << 40 }, Repair, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.stored()
			g.cfg.OnDrift = c.policy
			g.log.rewrite(0, "k1", "z")
			a := g.spy(func(try int, m *state.ResumeResponse) {
				if try == 1 && c.alter != nil {
					c.alter(m)
				}
			})
			g.open()
			g.await("the log's row", func() bool { return g.state()["k1"] == "z" })
			g.log.append(0, "x", "1")
			g.requireState(0)
			require.Equal(t, slices.Repeat([]state.Answer{state.Answer_ANSWER_REPAIR}, c.asked), a.all())
			require.Equal(t, c.loaded, g.count(Bootstrapped) == 1)
			require.Equal(t, c.loaded, g.count(Repaired) == 0)
		})
	}
}

// What the log answers is checked before anything is done with it.
func TestBadAnswers(t *testing.T) {
	for name, spoil := range map[string]func(*fakeLog, *state.ResumeResponse){
		"none":                  func(_ *fakeLog, m *state.ResumeResponse) { m.Answer = 0 },
		"unknown":               func(_ *fakeLog, m *state.ResumeResponse) { m.Answer = 99 },
		"frame without a frame": func(_ *fakeLog, m *state.ResumeResponse) { m.Answer, m.Frame = state.Answer_ANSWER_FRAME, nil },
		"frame of another sum":  func(_ *fakeLog, m *state.ResumeResponse) { m.Answer, m.Frame.Count = state.Answer_ANSWER_FRAME, 77 },
		"frame of another log": func(_ *fakeLog, m *state.ResumeResponse) {
			m.Answer, m.Partition.Incarnation = state.Answer_ANSWER_FRAME, make([]byte, 16)
		},
		"continue elsewhere":   func(_ *fakeLog, m *state.ResumeResponse) { m.From++ },
		"another partition":    func(_ *fakeLog, m *state.ResumeResponse) { m.Partition.Partition = 1 },
		"no partition":         func(_ *fakeLog, m *state.ResumeResponse) { m.Partition = nil },
		"delta from elsewhere": func(_ *fakeLog, m *state.ResumeResponse) { m.Answer, m.Since = state.Answer_ANSWER_DELTA, 1 },
		"delta that ends before": func(l *fakeLog, m *state.ResumeResponse) {
			m.Answer, m.Since, m.Frame = state.Answer_ANSWER_DELTA, m.From, l.frameOf(0, 4)
		},
		"delta without a frame": func(_ *fakeLog, m *state.ResumeResponse) {
			m.Answer, m.Since, m.Frame = state.Answer_ANSWER_DELTA, m.From, nil
		},
		"incarnation of odd bytes": func(_ *fakeLog, m *state.ResumeResponse) { m.Partition.Incarnation = []byte{1} },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			end := g.stored()
			a := g.spy(func(try int, m *state.ResumeResponse) {
				if m.Frame = g.log.frameOf(0, end); try == 2 {
					spoil(g.log, m)
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
			require.ErrorIs(t, e.Err, plane.ErrBadAnswer)
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

// What is found wrong with a state, or with the topic, before that state is followed counts all the same: nobody will say it again.
func TestRestartBeforeTheStateIsFollowed(t *testing.T) {
	for kind, ask := range map[EventKind]func(*Replica){
		CorruptionFound: func(r *Replica) {
			r.partitions[0].restartWith(restart{event: CorruptionFound, err: ErrCorrupt, halt: true})
		},
		TopicGrew: func(r *Replica) { r.outgrown(plane.Partition{Partition: 1}) },
	} {
		for _, resume := range []bool{true, false} { // the state stays, or a frame takes its place
			t.Run(fmt.Sprintf("%v/resume %v", kind, resume), func(t *testing.T) {
				g := newRig(t, fold.LastValue, 1)
				g.log.append(0, "a", "1")
				g.log.cut(0)
				g.spy(func(try int, _ *state.ResumeResponse) {
					if try == 2 {
						ask(g.r)
					}
				})
				g.open()
				g.log.append(0, "a", "2")
				g.requireState(0)
				g.r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange, resume: resume})
				if kind == CorruptionFound && !resume { // the rows that were corrupt are gone
					g.await("another state", func() bool { return g.count(Bootstrapped) == 2 })
					g.log.append(0, "a", "3")
					g.requireState(0)
					require.NoError(t, g.r.Err())
					return
				}
				g.await("the end of following", func() bool { return g.r.Err() != nil })
				require.Equal(t, 1, g.count(kind))
			})
		}
	}
}

// A topic that was created anew with other partitions ends the replica of all, also where the handshake alone tells of it.
func TestAnotherTopicOfTheHandshake(t *testing.T) {
	for _, partitions := range []int32{1, 3} {
		g := newRig(t, fold.LastValue, 2)
		g.log.append(0, "a", "1")
		g.log.cut(0)
		g.tail.hold()
		g.open()
		awaitFollowing(t, g.r.partitions[0])
		g.log.mu.Lock()
		delete(g.log.parts, 1)
		g.plane.hidden.Store(true)
		g.log.mu.Unlock()
		asked := g.spy(nil)
		before := func(*state.ResumeRequest) state.Reason { // what is told of the topic comes later
			g.log.create(2, partitions)
			g.log.append(0, "b", "1")
			g.log.cut(0)
			g.plane.full.Store(nil)
			return state.Reason_REASON_UNSPECIFIED
		}
		g.plane.full.Store(&before)
		g.r.partitions[0].restartWith(restart{event: OutOfRange, err: errOutOfRange, resume: true})
		require.ErrorIs(t, g.r.WaitFor(testContext(t), 0, 100), ErrPartitions)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_RESET}, asked.all()[:1])
		require.NotContains(t, g.state(), "b")
		require.NoError(t, g.r.Close())
	}
}
