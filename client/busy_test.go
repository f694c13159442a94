package client

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

var busy = []state.Reason{state.Reason_REASON_BEHIND, state.Reason_REASON_TOO_MANY_LEASES}

// refuseTimes has the next n handshakes refused; it returns how many were asked.
func (g *rig) refuseTimes(n int64, why state.Reason) (asked *atomic.Int64) {
	asked = new(atomic.Int64)
	full := func(*state.ResumeRequest) state.Reason {
		if asked.Add(1) <= n {
			return why
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	g.plane.full.Store(&full)
	return asked
}

// cancelOn opens a replica and gives up at the first event of a kind.
func (g *rig) cancelOn(kind EventKind) error {
	ctx, cancel := context.WithCancel(testContext(g.t))
	defer cancel()
	cfg := g.cfg.withDefaults()
	said := cfg.OnEvent
	cfg.OnEvent = func(e Event) {
		if said(e); e.Kind == kind {
			cancel()
		}
	}
	_, err := openReplica(ctx, cfg, newFakeTail(g.log))
	return err
}

// Who has no state waits for a log that is behind, or holds too much already, says so each time, and gets his frame. Who waits no longer is told why.
func TestABusyLogIsAskedAgain(t *testing.T) {
	for _, why := range busy {
		t.Run(why.String(), func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.log.append(0, "a", "1")
			g.log.cut(0)
			g.refuseTimes(1<<40, why)
			err := g.cancelOn(BootstrapFailed)
			require.ErrorIs(t, err, context.Canceled)
			require.Equal(t, why, plane.ReasonOf(err), "%v", err)
			g.forget()

			asked := g.refuseTimes(5, why)
			g.open()
			g.requireState(0)
			require.EqualValues(t, 6, asked.Load())
			require.Equal(t, 5, g.count(BootstrapFailed))
			e, _ := g.saw(BootstrapFailed)
			require.Equal(t, why, plane.ReasonOf(e.Err))
		})
	}
}

// Who has a state shows it meanwhile, a stored one too, and follows the log as far as it goes; behind what is missing he waits, and nothing is skipped.
func TestABusyLogIsWaitedForWithAState(t *testing.T) {
	for _, why := range busy {
		t.Run(why.String(), func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.stored()
			former := g.log.state(0)
			g.overwrite("c")
			g.overwrite("d")
			g.log.trim(0)
			g.tail.hold()
			asked := g.refuseTimes(5, why)
			g.open()
			require.Equal(t, former, g.state())
			g.tail.release()
			g.await("refusals", func() bool { return g.count(BootstrapFailed) >= 3 })
			g.requireState(0)
			g.await("the word of it", func() bool { return g.count(CaughtUp) == 1 }) // which follows the state
			require.EqualValues(t, 6, asked.Load())
			require.Zero(t, g.count(Bootstrapped))

			g.tail.hold() // and while it is open
			former = g.state()
			g.overwrite("e")
			g.overwrite("f")
			g.log.trim(0)
			asked = g.refuseTimes(5, why)
			g.forget()
			g.tail.release()
			g.await("refusals", func() bool {
				if asked.Load() <= 5 {
					require.Equal(t, former, g.state())
				}
				return g.count(BootstrapFailed) >= 3
			})
			g.requireState(0)
			require.EqualValues(t, 6, asked.Load())
			g.log.append(0, "last", "1")
			g.requireState(0)
			g.awaitVerdict(g.log.cut(0), Equal)
		})
	}
}

// A repair waits for a log that is busy, but not for ever: then the state is followed on as it is. What is tried again does not wait, and the next
// frame that differs has it tried too.
func TestARepairsPatience(t *testing.T) {
	for _, why := range append(busy, state.Reason_REASON_TOO_MANY_REPAIRS) {
		t.Run(why.String(), func(t *testing.T) {
			g := newDriftRig(t, 500, Memory())
			var later atomic.Int64
			g.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			g.start()
			var refused atomic.Int64
			looked := make(chan struct{}) // the next try, which soon follows, is held until the test has
			look := sync.OnceFunc(func() { close(looked) })
			defer look()
			refuse := func(call string) state.Reason {
				switch {
				case call == "resume" && why == state.Reason_REASON_TOO_MANY_REPAIRS:
					return state.Reason_REASON_UNSPECIFIED
				case call != "resume" && why != state.Reason_REASON_TOO_MANY_REPAIRS:
					return state.Reason_REASON_UNKNOWN_FRAME // another one is asked for
				}
				switch n := refused.Add(1); {
				case n == 5:
					later.Add(int64(3 * time.Minute))
				case n > 5:
					<-looked
				}
				return why
			}
			g.plane.repair.refuse.Store(&refuse)
			before, frames := g.state(), g.plane.tries.Load()
			g.drift(30)
			g.await("the end of patience", func() bool { return g.count(RepairFailed) == 1 })
			require.Contains(t, []int64{5, 6}, refused.Load())
			look()
			g.await("others that are refused", func() bool { return g.count(RepairFailed) > 3 })
			end := g.log.append(0, "goes", "on")
			require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
			before["goes"] = "on"
			require.Equal(t, before, g.state())
			require.Equal(t, frames, g.plane.tries.Load(), "no frame was loaded")

			g.plane.repair.refuse.Store(nil)
			g.awaitRepair(g.drift(2), BySketch)
		})
	}
}

// What is no state plane, but answers: nothing is begun with it, and what is stored is followed by the data plane alone.
func TestSomethingElseThanAStatePlane(t *testing.T) {
	for name, status := range map[string]int{"a page": http.StatusOK, "no such page": http.StatusNotFound, "a proxy": http.StatusBadGateway} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			end := g.stored()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, "<html><body>Welcome</body></html>")
			}))
			defer s.Close()
			g.cfg.StateURL = s.URL
			store := g.cfg.Store
			g.cfg.Store = Memory()
			require.ErrorIs(t, g.cancelOn(BootstrapFailed), context.Canceled)
			require.Zero(t, g.count(Bootstrapped))

			g.cfg.Store = store
			g.open()
			g.log.append(0, "x", "1")
			g.requireState(0)
			require.NotEqual(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
			require.Greater(t, g.r.Positions()[0].Offset, end)
			require.NoError(t, g.r.Err())
		})
	}
}

// A frame of which no more comes is an event, as is a state plane that takes calls and never answers. Once it does, the replica opens.
func TestAStatePlaneThatHangs(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.HTTPClient = &http.Client{Transport: plane.Watched(&http.Transport{}, 200*time.Millisecond)}
	g.log.append(0, "a", "1")
	g.log.cut(0)
	goOn := make(chan struct{})
	stall := func(_ int, b []byte) []byte { <-goOn; return b }
	g.plane.fault.Store(&stall)
	opened := make(chan struct{})
	go func() { defer close(opened); g.open() }()
	require.Eventually(t, func() bool { _, ok := g.saw(BootstrapFailed); return ok }, guard, time.Millisecond)
	e, _ := g.saw(BootstrapFailed)
	require.ErrorIs(t, e.Err, plane.ErrSilent)
	close(goOn)
	<-opened
	g.requireState(0)
}
