package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// refuseParts makes the plane refuse every report that has such a part; nil: none any more.
func (f *reports) refuseParts(err error, is func(*state.ReplicaPartition) bool) {
	refuses := func(m *state.ReportRequest) error {
		if slices.ContainsFunc(m.Partitions, is) {
			return err
		}
		return nil
	}
	f.refuses.Store(&refuses)
}

// lines is what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// What a broker refuses to hear of one partition keeps nothing from it that is said of the others, nor what is said of that one later.
func TestRefusedPartIsGivenUp(t *testing.T) {
	for name, err := range map[string]error{
		"ahead of the log":  refuse(connect.CodeOutOfRange, state.Reason_REASON_FUTURE_POSITION),
		"malformed":         connect.NewError(connect.CodeInvalidArgument, errors.New("partition 2: -1 is not an offset, a count or a time")),
		"another log":       refuse(connect.CodeFailedPrecondition, state.Reason_REASON_OTHER_INCARNATION),
		"no such partition": refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_PARTITION),
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 5)
			var log lines
			g.cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
			g.plane.interval.Store(1)
			g.plane.refuseParts(err, func(x *state.ReplicaPartition) bool { return x.Partition == 2 })
			g.open()
			for no := range int32(5) {
				g.log.append(no, fmt.Sprint(no), "1")
				require.NoError(t, g.r.WaitFor(testContext(t), no, 1))
				g.log.cut(no)
			}
			for _, no := range []int32{0, 1, 3, 4} {
				g.awaitTold("a verdict", func(x *state.ReplicaPartition) bool { return x.Partition == no && x.Verified == 1 })
			}
			n := len(g.plane.parts())
			g.awaitTold("all of it again and again", func(*state.ReplicaPartition) bool { return len(g.plane.parts()) > n+12 })
			require.Equal(t, 1, strings.Count(log.String(), "refuses what it is told"), log.String())
			require.Contains(t, log.String(), "partition=2")
			require.False(t, slices.ContainsFunc(g.plane.parts(), func(x *state.ReplicaPartition) bool { return x.Partition == 2 }))

			g.plane.refuseParts(nil, func(*state.ReplicaPartition) bool { return false })
			g.awaitTold("what is so by now", func(x *state.ReplicaPartition) bool { return x.Partition == 2 && x.Verified == 1 })
			g.plane.refuseParts(err, func(x *state.ReplicaPartition) bool { return x.Partition == 2 && x.Verified == 1 })
			g.log.append(2, "more", "1")
			require.NoError(t, g.r.WaitFor(testContext(t), 2, 2))
			g.log.cut(2)
			g.awaitTold("what came later", func(x *state.ReplicaPartition) bool { return x.Partition == 2 && x.Verified == 2 })
			require.Equal(t, 1, strings.Count(log.String(), "refuses what it is told"), log.String())
		})
	}
}

// Who leaves is forgotten, whatever was refused of him.
func TestLeavingIsToldWithoutWhatIsRefused(t *testing.T) {
	g := newRig(t, fold.LastValue, 2)
	g.plane.interval.Store(never)
	g.plane.refuseParts(refuse(connect.CodeOutOfRange, state.Reason_REASON_FUTURE_POSITION), func(x *state.ReplicaPartition) bool { return x.Partition == 1 })
	g.open()
	g.awaitTold("partition 0", func(x *state.ReplicaPartition) bool { return x.Partition == 0 && x.Phase == "following" })
	g.log.append(1, "a", "1")
	require.NoError(t, g.r.WaitFor(testContext(t), 1, 1))
	g.awaitVerdict(g.log.cut(1), Equal)
	require.NoError(t, g.r.Close())
	g.plane.mu.Lock()
	defer g.plane.mu.Unlock()
	require.True(t, g.plane.got[len(g.plane.got)-1].Leaving)
}

// reporterOf is a reporter that nobody runs.
func reporterOf(t *testing.T, f *fakePlane, log *lines) *reporter {
	cfg := Config{Topic: f.log.topic, Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}.withDefaults()
	return newReporter(&Replica{cfg: cfg, name: "seven", plane: plane.New(http.DefaultClient, f.url, cfg.Topic)})
}

func partsUpTo(n int) (parts []*state.ReplicaPartition) {
	for i := range n {
		parts = append(parts, &state.ReplicaPartition{Partition: int32(i), Phase: state.PhaseFollowing})
	}
	return parts
}

// A few parts among many are found with few calls, and the rest is told in its order.
func TestRefusedPartsAreSearched(t *testing.T) {
	f := newFakePlane(t, newFakeLog(fold.LastValue, 1))
	f.interval.Store(never)
	var log lines
	w := reporterOf(t, f, &log)
	var calls atomic.Int64
	count := func(*state.ReportRequest) { calls.Add(1) }
	f.reports.before.Store(&count)
	bad := []int32{0, 499, 500, 1499}
	f.refuseParts(refuse(connect.CodeOutOfRange, state.Reason_REASON_FUTURE_POSITION), func(x *state.ReplicaPartition) bool { return slices.Contains(bad, x.Partition) })
	require.NoError(t, w.report(context.Background(), partsUpTo(1500)))
	var want, got []int32
	for i := range int32(1500) {
		if !slices.Contains(bad, i) {
			want = append(want, i)
		}
	}
	for _, x := range f.parts() {
		got = append(got, x.Partition)
	}
	require.Equal(t, want, got)
	require.Less(t, calls.Load(), int64(80))
	require.Equal(t, len(bad), strings.Count(log.String(), "refuses what it is told"))
	require.Empty(t, w.queue)
}

// Where the replica is refused, or its topic, no part of what it says is to blame, and none is searched for.
func TestRefusedReplicaIsNotSearched(t *testing.T) {
	for name, err := range map[string]error{
		"by its name": connect.NewError(connect.CodeInvalidArgument, errors.New("replica: a name has 1 to 249 bytes")),
		"the topic":   refuse(connect.CodeNotFound, state.Reason_REASON_UNKNOWN_TOPIC),
		"no room":     refuse(connect.CodeResourceExhausted, state.Reason_REASON_TOO_MANY_REPLICAS),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakePlane(t, newFakeLog(fold.LastValue, 1))
			f.interval.Store(never)
			var log lines
			w := reporterOf(t, f, &log)
			var calls atomic.Int64
			refuses := func(*state.ReportRequest) error { calls.Add(1); return err }
			f.refuses.Store(&refuses)
			require.ErrorContains(t, w.report(context.Background(), partsUpTo(100)), err.(*connect.Error).Message())
			require.LessOrEqual(t, calls.Load(), int64(2))
			require.Empty(t, log.String())
		})
	}
}

// A broker that goes away while a part is searched for is told the rest later, and nothing twice.
func TestBrokerGoesAwayDuringTheSearch(t *testing.T) {
	for last := range int64(12) {
		f := newFakePlane(t, newFakeLog(fold.LastValue, 1))
		f.interval.Store(never)
		var log lines
		w := reporterOf(t, f, &log)
		var calls atomic.Int64
		refuses := func(m *state.ReportRequest) error {
			if calls.Add(1) == last+1 {
				return connect.NewError(connect.CodeUnavailable, errors.New("not now"))
			}
			if slices.ContainsFunc(m.Partitions, func(x *state.ReplicaPartition) bool { return x.Partition == 5 }) {
				return refuse(connect.CodeOutOfRange, state.Reason_REASON_FUTURE_POSITION)
			}
			return nil
		}
		f.refuses.Store(&refuses)
		err := w.report(context.Background(), partsUpTo(9))
		if err != nil {
			require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err))
			parts, _ := w.take(false)
			require.NoError(t, w.report(context.Background(), parts))
		}
		var got []int32
		for _, x := range f.parts() {
			got = append(got, x.Partition)
		}
		require.Equal(t, []int32{0, 1, 2, 3, 4, 6, 7, 8}, got, "%d: %v", last, err)
	}
}
