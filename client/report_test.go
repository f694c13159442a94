package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// reports is what a fakePlane is told, and what it answers. It takes none until interval is set.
type reports struct {
	interval atomic.Int64                               // ms
	disputed atomic.Bool                                // partition 0
	stuck    atomic.Bool                                // it does not answer
	failing  atomic.Int64                               // so many calls fail
	before   atomic.Pointer[func(*state.ReportRequest)] // each answer
	refuses  atomic.Pointer[func(*state.ReportRequest) error]
	told     notifier

	mu  sync.Mutex
	got []*state.ReportRequest
}

func (f *fakePlane) Report(ctx context.Context, req *connect.Request[state.ReportRequest]) (*connect.Response[state.ReportResponse], error) {
	defer f.told.notify()
	if f.interval.Load() == 0 {
		return nil, connect.NewError(connect.CodeUnimplemented, errors.New("as a broker of former days"))
	}
	if f.stuck.Load() {
		f.told.notify()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if f.failing.Add(-1) >= 0 {
		return nil, connect.NewError(connect.CodeUnavailable, errors.New("not now"))
	}
	if before := f.reports.before.Load(); before != nil {
		(*before)(req.Msg)
	}
	if refuses := f.refuses.Load(); refuses != nil {
		if err := (*refuses)(req.Msg); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.got = append(f.got, req.Msg)
	answer := &state.ReportResponse{IntervalMs: f.interval.Load()}
	if f.disputed.Load() {
		answer.Disputed = []int32{0}
	}
	return connect.NewResponse(answer), nil
}

// parts is what was told of the partitions, in its order.
func (f *reports) parts() (out []*state.ReplicaPartition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.got {
		out = append(out, m.Partitions...)
	}
	return out
}

// awaitTold waits until something of that kind was told.
func (g *rig) awaitTold(what string, is func(*state.ReplicaPartition) bool) *state.ReplicaPartition {
	g.t.Helper()
	deadline := time.After(guard)
	for {
		told := g.plane.told.wait()
		parts := g.plane.parts()
		if i := slices.IndexFunc(parts, is); i >= 0 {
			return parts[i]
		}
		select {
		case <-told:
		case <-deadline:
			g.t.Fatalf("never told: %s; %v", what, parts)
		}
	}
}

const never = int64(time.Hour / time.Millisecond)

// A replica says who it is, and how it is doing, after each verdict, and at the end that it leaves.
func TestReplicaReports(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 2)
		g.cfg.Store, g.cfg.Name = store(), "seven"
		g.plane.interval.Store(never)
		g.log.append(0, "a", "1")
		first := g.log.cut(0)
		g.open()
		g.awaitTold("partition 1", func(x *state.ReplicaPartition) bool { return x.Partition == 1 && x.Phase == "following" })
		g.log.append(0, "b", "1")
		g.requireState(0)
		cut := g.log.cut(0)
		x := g.awaitTold("a verdict", func(x *state.ReplicaPartition) bool { return x.Partition == 0 && x.Compared.GetOffset() == cut })
		require.Equal(t, state.Outcome_OUTCOME_EQUAL, x.Outcome)
		require.Equal(t, []int64{cut, cut, 2, 1}, []int64{x.Position, x.Verified, x.Compared.Count, x.Bootstraps})
		require.Greater(t, cut, first)
		require.Equal(t, g.log.parts[0].incarnation[:], x.Incarnation)
		sum := digestOf(g.log.parts[0].states[cut]).Sum.Bytes()
		require.Equal(t, sum[:], x.Compared.Sum)
		require.NotZero(t, x.VerifiedMs)

		require.NoError(t, g.r.Close())
		last := g.plane.got[len(g.plane.got)-1]
		require.True(t, last.Leaving)
		for _, m := range g.plane.got {
			require.Equal(t, g.log.topic+" seven", m.Topic+" "+m.Replica)
			require.Contains(t, m.Host, " pid ")
			require.Equal(t, m == last, m.Leaving)
		}
	})
}

// Whenever a replica is opened it is another instance, whatever its name: it says which in all that it reports, and asks the log as the same one.
func TestEachOpenedReplicaIsAnInstance(t *testing.T) {
	g := newRig(t, fold.LastValue, 2)
	g.cfg.Name = "seven"
	g.plane.interval.Store(never)
	var mu sync.Mutex
	instances := map[string]int{} // what said so: reports by 1, resumptions by 2
	said := func(instance []byte, how int) {
		mu.Lock()
		defer mu.Unlock()
		instances[string(instance)] |= how
	}
	before := func(m *state.ReportRequest) { said(m.Instance, 1) }
	g.plane.reports.before.Store(&before)
	alter := func(m *state.ResumeRequest, _ *state.ResumeResponse) { said(m.Instance, 2) }
	g.plane.alter.Store(&alter)
	for n := range 3 {
		g.open()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(instances) == n+1 && !slices.ContainsFunc(slices.Collect(maps.Values(instances)), func(how int) bool { return how != 1|2 })
		}, guard, time.Millisecond)
		require.NoError(t, g.r.Close())
	}
	mu.Lock()
	defer mu.Unlock()
	require.Len(t, instances, 3)
	for instance := range instances {
		require.Len(t, instance, 16)
	}
}

// A drift is told with the digest here and why, before whatever is done about it, and no longer once the log's own rows are in its place, held to the log's
// digest; what a scrub finds in the rows is no verdict on the log.
func TestDriftIsReported(t *testing.T) {
	for policy, phase := range map[Policy]string{Report: "following", Halt: "halted", Rebootstrap: "following"} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.OnDrift = policy
			g.plane.interval.Store(never)
			g.log.append(0, "a", "1")
			g.log.cut(0)
			g.tail.fault = func(s segment) []segment {
				s.records = nil
				return []segment{s}
			}
			g.open()
			g.log.append(0, "b", "1")
			require.NoError(t, g.r.WaitFor(testContext(t), 0, 2))
			cut := g.log.cut(0)
			x := g.awaitTold("the drift", func(x *state.ReplicaPartition) bool { return x.Outcome == state.Outcome_OUTCOME_DRIFTED })
			require.Equal(t, []int64{cut, 1, 1}, []int64{x.Compared.Offset, x.Compared.Count, x.Verified})
			require.Contains(t, x.Reason, "1 row here, 2 in the log")
			outcome, rows, bootstraps := state.Outcome_OUTCOME_DRIFTED, int64(1), int64(1)
			if policy == Rebootstrap {
				outcome, rows, bootstraps = state.Outcome_OUTCOME_EQUAL, 2, 2
			}
			x = g.awaitTold("what came of it", func(x *state.ReplicaPartition) bool {
				return x.Outcome == outcome && x.Phase == phase && x.Bootstraps == bootstraps
			})
			require.Equal(t, []int64{cut, rows}, []int64{x.Compared.Offset, x.Compared.Count})
			require.Equal(t, policy == Rebootstrap, x.Verified == cut && x.Reason == "")
			require.Equal(t, Equal, g.r.Scrub(context.Background())[0].Outcome)
			require.NoError(t, g.r.Close())
			parts := g.plane.parts()
			require.Equal(t, outcome, parts[len(parts)-1].Outcome)
			require.Equal(t, policy != Halt, g.plane.got[len(g.plane.got)-1].Leaving, "one that has stopped is to be seen in the list")
		})
	}
}

// What a stored state was verified at is told as soon as it is followed on, and when that was: of a directory that does not say when, without.
func TestStoredVerifiedCutIsReported(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprint("without a time ", old), func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.Store = DirFS(vfs.NewMem(), "replica")
			found := time.UnixMilli(1_700_000_000_000)
			g.cfg.Now = func() time.Time { return found }
			g.log.append(0, "a", "1")
			cut := g.log.cut(0)
			g.open()
			end := g.log.append(0, "b", "1")
			g.requireState(0)
			require.NoError(t, g.r.Close())
			want := found.UnixMilli()
			if old {
				s, err := readDirState(g.cfg.Store.fs, "replica", g.log.topic)
				require.NoError(t, err)
				s.Partitions[0].Verified[0].TimeMs, want = 0, 0
				require.NoError(t, writeDirState(g.cfg.Store.fs, "replica", s))
			}
			g.cfg.Now = func() time.Time { return found.Add(time.Hour) }
			g.plane.interval.Store(never)
			g.open()
			x := g.awaitTold("that it is followed on", func(x *state.ReplicaPartition) bool { return x.Phase == "following" })
			require.Equal(t, []int64{end, cut, want, 0}, []int64{x.Position, x.Verified, x.VerifiedMs, x.Bootstraps})
			later := g.log.cut(0)
			x = g.awaitTold("a verdict", func(x *state.ReplicaPartition) bool { return x.Verified == later })
			require.Equal(t, found.Add(time.Hour).UnixMilli(), x.VerifiedMs)
		})
	}
}

// What a replica found out about a log is not told of the one that takes its place.
func TestNothingIsToldOfANewLogThatWasOfTheFormer(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.plane.interval.Store(50)
	g.log.append(0, "a", "1", "b", "1")
	cut := g.log.cut(0)
	g.open()
	g.awaitTold("that it is verified", func(x *state.ReplicaPartition) bool { return x.Verified == cut })
	g.log.append(0, "c", "1")
	cut = g.log.cut(0)
	g.awaitTold("a verdict", func(x *state.ReplicaPartition) bool { return x.Compared.GetOffset() == cut })
	g.log.create(2, 1)
	x := g.awaitTold("the new log", func(x *state.ReplicaPartition) bool { return len(x.Incarnation) == 16 && x.Incarnation[15] == 2 })
	require.Zero(t, x.Verified)
	require.Nil(t, x.Compared)
	require.Zero(t, x.Outcome)
}

// Whether anything happens or not, it reports as often as the broker asks it to: all partitions, with their positions.
func TestReportsEveryInterval(t *testing.T) {
	g := newRig(t, fold.LastValue, 2)
	g.plane.interval.Store(1)
	g.open()
	g.log.append(1, "a", "1")
	g.requireState(1)
	g.awaitTold("the position", func(x *state.ReplicaPartition) bool { return x.Partition == 1 && x.Position == 1 })
	n := len(g.plane.parts())
	require.Eventually(t, func() bool {
		told := g.plane.told.wait()
		if len(g.plane.parts()) > n+4 {
			return true
		}
		<-told
		return false
	}, guard, time.Millisecond)
}

// A broker that does not answer is asked again and is told what happened meanwhile, in its order; nobody waits for it.
func TestReportsAreRepeated(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.plane.interval.Store(never)
	g.plane.failing.Store(1 << 40)
	g.open()
	var cuts []int64
	for i := range 3 {
		g.log.append(0, fmt.Sprint(i), "1")
		g.requireState(0)
		cuts = append(cuts, g.log.cut(0))
		g.awaitVerdict(cuts[i], Equal)
	}
	g.plane.failing.Store(2)
	g.awaitTold("the last", func(x *state.ReplicaPartition) bool { return x.Verified == cuts[2] })
	var verified []int64
	for _, x := range g.plane.parts() {
		if x.Verified > 0 {
			verified = append(verified, x.Verified)
		}
	}
	require.Equal(t, cuts, slices.Compact(verified))
}

// A broker of a former version, or one that hangs, does not keep a replica from anything, nor Close from ending.
func TestReplicaWithoutReports(t *testing.T) {
	for name, set := range map[string]func(*reports){
		"unimplemented": func(*reports) {},
		"hanging":       func(r *reports) { r.interval.Store(never); r.stuck.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			set(&g.plane.reports)
			g.open()
			g.log.append(0, "a", "1")
			g.requireState(0)
			g.awaitVerdict(g.log.cut(0), Equal)
			began := time.Now()
			require.NoError(t, g.r.Close())
			require.Less(t, time.Since(began), 10*time.Second)
		})
	}
}

// Who takes over the log's state because he differs from it has said so before: else of two who differ alike, which makes the broker the
// suspect, it would hear one alone. Where the broker does not answer, that is not waited for.
func TestDriftIsToldBeforeItIsUndone(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(fmt.Sprint("away ", away), func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.OnDrift = Rebootstrap
			g.plane.interval.Store(never)
			g.log.append(0, "a", "1")
			g.log.cut(0)
			g.tail.fault = func(s segment) []segment {
				s.records = nil
				return []segment{s}
			}
			g.open()
			g.awaitTold("that it is there", func(x *state.ReplicaPartition) bool { return x.Phase == "following" })
			if away {
				g.plane.failing.Store(1 << 40)
			}
			loaded := make(chan struct{})
			fault := func(_ int, b []byte) []byte {
				close(loaded)
				g.plane.fault.Store(nil)
				return b
			}
			g.plane.fault.Store(&fault)
			var early, said atomic.Bool
			before := func(m *state.ReportRequest) {
				if slices.ContainsFunc(m.Partitions, func(x *state.ReplicaPartition) bool {
					return x.Outcome == state.Outcome_OUTCOME_DRIFTED && x.Bootstraps == 1
				}) && !said.Swap(true) { // what else is told of it may come while the frame does
					select {
					case <-loaded:
						early.Store(true)
					case <-time.After(50 * time.Millisecond): // a frame that is asked for without waiting comes sooner
					}
				}
			}
			g.plane.reports.before.Store(&before)
			g.log.append(0, "b", "1")
			g.log.cut(0)
			<-loaded
			require.NoError(t, g.r.Close())
			require.False(t, early.Load())
			require.Equal(t, !away, slices.ContainsFunc(g.plane.parts(), func(x *state.ReplicaPartition) bool { return x.Outcome == state.Outcome_OUTCOME_DRIFTED }))
		})
	}
}

// Whatever is loaded from the log's own rows is told: a state that is equal for it is no witness. What was said of the state before is said no longer: it is
// equal where it was held to the log's digest, also without rows, and else nothing is known of it.
func TestLoadsAreReported(t *testing.T) {
	w := newReporter(&Replica{cfg: Config{}.withDefaults()})
	w.verdict(Verdict{At: 4, Outcome: Drifted, Reason: "another value"})
	w.event(Event{Kind: Bootstrapped, Offset: 5, Rows: 3, proved: &point{offset: 5, start: 2, digest: digest.Digest{Count: 3}}})
	w.event(Event{Kind: CaughtUp, Offset: 7, Rows: 1, proved: &point{offset: 7, start: 2, digest: digest.Digest{Count: 4}}})
	w.event(Event{Kind: Resumed, Offset: 7})
	w.verdict(Verdict{At: 8, Outcome: Drifted, Reason: "another value"})
	w.event(Event{Kind: Bootstrapped, Offset: 9, proved: &point{offset: 9, start: 9}})
	w.verdict(Verdict{At: 9, Outcome: Drifted, Reason: "another value"})
	w.event(Event{Kind: Bootstrapped})
	parts, _ := w.take(false)
	for i, want := range [][]int64{{0, 0, 2, 4, 0, 0}, {1, 5, 1, 5, 3, 2}, {2, 7, 1, 7, 4, 2}, {2, 7, 1, 7, 4, 2}, {2, 7, 2, 8, 0, 0}, {3, 9, 1, 9, 0, 9}, {3, 9, 2, 9, 0, 0}, {4, 0, 0, 0, 0, 0}} {
		x := parts[i]
		require.Equal(t, want, []int64{x.Bootstraps, x.Verified, int64(x.Outcome), x.Compared.GetOffset(), x.Compared.GetCount(), x.Compared.GetStart()}, i)
		require.Equal(t, x.Outcome == state.Outcome_OUTCOME_DRIFTED, x.Reason != "", i)
		require.Equal(t, x.Outcome != 0, x.ComparedMs != 0, i)
	}
}

// The queue is bounded, and keeps what a broker most needs to know.
func TestReportQueueIsBounded(t *testing.T) {
	r := &Replica{cfg: Config{}.withDefaults(), numbers: []int32{0}}
	w := newReporter(r)
	w.verdict(Verdict{At: 1, Outcome: Drifted, Reason: strings.Repeat("€", 200)})
	for i := range 1000 {
		w.verdict(Verdict{At: int64(i + 2), Outcome: Equal})
	}
	require.Len(t, w.queue, reportQueue)
	require.Equal(t, state.Outcome_OUTCOME_DRIFTED, w.queue[0].Outcome)
	require.Equal(t, strings.Repeat("€", 85), w.queue[0].Reason)
	require.EqualValues(t, 1001, w.queue[reportQueue-1].Compared.Offset)
	parts, _ := w.take(false)
	w.verdict(Verdict{At: 2000, Outcome: Equal})
	w.putBack(parts)
	require.Len(t, w.queue, reportQueue)
	require.Equal(t, state.Outcome_OUTCOME_DRIFTED, w.queue[0].Outcome)
	require.EqualValues(t, 2000, w.queue[reportQueue-1].Compared.Offset)
}

// What is on its way to the broker when a replica closes arrives before the word that it leaves, which would else not be the last.
func TestLeavingIsToldLast(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.plane.interval.Store(never)
	g.open()
	g.requireState(0)
	arrived, leaves := make(chan struct{}), make(chan struct{})
	var first, early atomic.Bool
	before := func(m *state.ReportRequest) {
		if m.Leaving {
			close(leaves)
			return
		}
		if first.Swap(true) {
			return
		}
		close(arrived)
		<-g.r.done
		select {
		case <-leaves:
			early.Store(true)
		case <-time.After(leaveTime / 4):
		}
	}
	g.plane.reports.before.Store(&before)
	g.r.partitions[0].askNow() // its verdict is told
	<-arrived
	require.NoError(t, g.r.Close())
	<-leaves
	require.False(t, early.Load())
}
