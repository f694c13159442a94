package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/state"
)

// outage is a state plane that is away at times.
type outage struct {
	down   atomic.Bool
	begins atomic.Pointer[string] // with a call to what ends so
}

func (o *outage) RoundTrip(r *http.Request) (*http.Response, error) {
	if call := o.begins.Load(); call != nil && strings.HasSuffix(r.URL.Path, *call) && o.begins.CompareAndSwap(call, nil) {
		o.down.Store(true)
	}
	if o.down.Load() {
		return nil, errors.New("connection refused")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A broker that restarts as a replica begins to repair itself costs it no more than a pause: the keys are named, and no frame is loaded.
func TestRepairWaitsForABrokerThatIsAway(t *testing.T) {
	g := newDriftRig(t, 500, Memory())
	names, out := g.names(), &outage{}
	g.cfg.HTTPClient = &http.Client{Transport: out}
	g.start()
	frames, call := g.plane.tries.Load(), "/Sketch"
	out.begins.Store(&call)
	g.drift(10)
	g.await("a second attempt has failed", func() bool { return g.count(RepairFailed) > 1 })
	out.down.Store(false)
	g.await("repaired", func() bool { return g.count(Repaired) > 0 })
	g.lose = false
	g.requireState(0)
	require.Len(t, names(), 10)
	require.Equal(t, frames, g.plane.tries.Load(), "no frame is loaded")
	require.Equal(t, 1, g.count(Bootstrapped))
}

// What keeps a broker from repairing anybody may pass on a topic to which nobody writes any more: no frame comes that would tell.
func TestRefusedRepairIsMadeOnAnIdleTopic(t *testing.T) {
	for _, why := range []state.Reason{state.Reason_REASON_TOO_MANY_REPAIRS, state.Reason_REASON_BROKER_CORRUPT} {
		t.Run(why.String(), func(t *testing.T) {
			g := newDriftRig(t, 500, Memory())
			var later, refused atomic.Int64
			g.cfg.Now = func() time.Time { return time.Now().Add(time.Duration(later.Load())) }
			g.start()
			refuse := func(call string) state.Reason {
				if call == "resume" && why == state.Reason_REASON_TOO_MANY_REPAIRS {
					return state.Reason_REASON_UNSPECIFIED
				}
				if refused.Add(1) == 5 {
					later.Add(int64(3 * time.Minute)) // patience ends
				}
				return why
			}
			g.plane.repair.refuse.Store(&refuse)
			cut := g.drift(30)
			g.await("the refusal", func() bool { return g.count(RepairFailed)+g.count(RepairRefused) > 0 })
			g.plane.repair.refuse.Store(nil)
			g.await("repaired", func() bool { return g.count(Repaired) > 0 })
			require.Equal(t, g.log.stateAt(0, cut), g.state())
		})
	}
}

// Deltas that overwrite what differed put it right before the repair can: the replica follows, and says so.
func TestPhaseAfterWhatDifferedWasOverwritten(t *testing.T) {
	g := newDriftRig(t, 50, Memory())
	g.plane.interval.Store(100)
	g.start()
	ctx := testContext(t)
	g.lose = true
	require.NoError(t, g.r.WaitFor(ctx, 0, g.log.append(0, "k000000001", "x", "k000000002", "x")))
	g.lose = false
	g.tail.hold()
	g.log.append(0, "k000000001", "y")
	end := g.log.append(0, "k000000002", "y")
	require.Equal(t, Drifted, g.r.Verify(ctx)[0].Outcome)
	require.Eventually(t, func() bool { return g.r.partitions[0].waitsFor(end) }, guard, time.Millisecond)
	g.tail.release()
	g.awaitVerdict(end, Equal)
	g.requireState(0)
	g.awaitTold("that it follows", func(x *state.ReplicaPartition) bool { return x.Verified == end && x.Phase == state.PhaseFollowing })
}

// failing answers some calls of the state plane by itself, as something between a replica and its broker may.
type failing struct {
	calls  []string
	status int
}

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	for _, call := range f.calls {
		if strings.HasSuffix(r.URL.Path, call) {
			_, err := io.Copy(io.Discard, r.Body)
			return &http.Response{StatusCode: f.status, Request: r, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Content-Type": {"text/plain"}},
				Body: io.NopCloser(strings.NewReader("no"))}, errors.Join(err, r.Body.Close())
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Where the broker is there, and only what would narrow the difference down never has an answer, the whole frame is loaded.
func TestRepairWhereOneCallHasNoAnswer(t *testing.T) {
	for name, calls := range map[string][]string{"resolve": {"/Resolve"}, "sketch and tags": {"/Sketch", "/Tags"}} {
		for _, status := range []int{413, 500, 403} {
			t.Run(fmt.Sprint(name, " ", status), func(t *testing.T) {
				g := newDriftRig(t, 500, Memory())
				g.cfg.HTTPClient = &http.Client{Transport: failing{calls, status}}
				g.start()
				cut := g.drift(10)
				g.await("repaired", func() bool { return g.count(Repaired) > 0 })
				require.Equal(t, g.log.stateAt(0, cut), g.state())
				e, _ := g.saw(Repaired)
				require.Equal(t, ByFrame, e.Repair.Method)
			})
		}
	}
}
