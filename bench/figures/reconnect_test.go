package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// member is the state plane's side of a replica, with connections of its own: what it does when it has lost the broker, without a state to keep.
type member struct {
	name   string
	http   *http.Client
	plane  stateconnect.StateServiceClient
	stream *connect.ServerStreamForClient[state.FramesResponse]
	end    context.CancelFunc
}

func newMember(n int, l link) *member {
	m := &member{name: fmt.Sprintf("replica-%04d", n), http: &http.Client{Transport: &http.Transport{DialContext: l.state}}}
	m.plane = stateconnect.NewStateServiceClient(m.http, stateURL)
	return m
}

// connect is what a replica does that comes back: it says where it stands, which must be right and be in the log, reports, and follows the frames.
func (m *member) connect(ctx context.Context, points []*state.Point, incarnation []byte) error {
	m.leave()
	r, err := m.plane.Resume(ctx, connect.NewRequest(&state.ResumeRequest{Topic: topicName, Replica: m.name, Incarnation: incarnation, Points: points, LeaderEpoch: -1}))
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	if r.Msg.Answer != state.Answer_ANSWER_CONTINUE || r.Msg.Lease != nil {
		return fmt.Errorf("resume: %v, %s", r.Msg.Answer, r.Msg.Why)
	}
	if err := m.report(ctx, points[0], incarnation); err != nil {
		return err
	}
	ctx, m.end = context.WithCancel(ctx)
	if m.stream, err = m.plane.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: topicName, Follow: true})); err != nil {
		return fmt.Errorf("frames: %w", err)
	}
	if !m.stream.Receive() {
		return fmt.Errorf("frames: %w", m.stream.Err())
	}
	return nil
}

func (m *member) report(ctx context.Context, at *state.Point, incarnation []byte) error {
	_, err := m.plane.Report(ctx, connect.NewRequest(&state.ReportRequest{Topic: topicName, Replica: m.name, Partitions: []*state.ReplicaPartition{{
		Incarnation: incarnation, Position: at.Offset, Phase: "following", Outcome: state.Outcome_OUTCOME_EQUAL, Compared: at, Verified: at.Offset,
	}}}))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// verify waits for the frame that is cut next, compares and reports.
func (m *member) verify(ctx context.Context, want *state.Point, incarnation []byte) error {
	defer time.AfterFunc(guard, m.end).Stop()
	if !m.stream.Receive() {
		return fmt.Errorf("frames: %w", m.stream.Err())
	}
	for _, f := range m.stream.Msg().Frames {
		if f.Cut == want.Offset && f.Count == want.Count && bytes.Equal(f.Sum, want.Sum) {
			return m.report(ctx, want, incarnation)
		}
	}
	return fmt.Errorf("frames: %v is not %v", m.stream.Msg().Frames, want)
}

// leave ends the stream.
func (m *member) leave() {
	if m.stream != nil {
		m.end()
		_ = m.stream.Close() // broken mostly
		m.stream = nil
	}
}

// herd is many replicas of one topic, most of which keep no state.
type herd struct {
	*world
	gate    gate
	members []*member
	whole   []*replica // these do
	info    *state.Partition
}

func newHerd(t testing.TB, n *node, members, whole, rows int) *herd {
	h := &herd{world: fill(t, n, rows)}
	h.configure(topicName, map[string]string{"keyframe.interval.ms": "3600000"})
	h.change(1_000) // above the newest frame
	h.info = h.partitions(topicName)[0]
	l := h.gate.guardLink(n.link())
	for i := range members {
		h.members = append(h.members, newMember(i, l))
	}
	for range whole {
		r := openReplica(t, l, topicName, client.Memory())
		r.catchUp(0, h.next)
		h.whole = append(h.whole, r)
	}
	return h
}

func (h *herd) close() {
	for _, m := range h.members {
		m.leave()
		m.http.CloseIdleConnections()
	}
	for _, r := range h.whole {
		require.NoError(h.t, r.Close())
	}
}

// point is the digest that the log has at its end.
func (h *herd) point() *state.Point {
	d, err := h.plane.DigestAt(h.t.Context(), connect.NewRequest(&state.DigestAtRequest{Topic: topicName, Offset: h.next}))
	require.NoError(h.t, err)
	return &state.Point{Offset: h.next, Count: d.Msg.Count, Sum: d.Msg.Sum, Start: d.Msg.Start}
}

// each does something for all members at once, and returns how long that took.
func (h *herd) each(do func(m *member) error) time.Duration {
	var all sync.WaitGroup
	errs := make([]error, len(h.members))
	began := time.Now()
	for i, m := range h.members {
		all.Go(func() { errs[i] = do(m) })
	}
	all.Wait()
	took := time.Since(began)
	for _, err := range errs {
		require.NoError(h.t, err)
	}
	return took
}

// wholeAreEqual waits until each whole replica was compared and is equal, and returns how long that took. Until it has found the broker again it cannot be
// compared.
func (h *herd) wholeAreEqual() time.Duration {
	began := time.Now()
	for _, r := range h.whole {
		r.catchUp(0, h.next)
		require.Eventually(h.t, func() bool {
			v := r.Verify(h.t.Context())[0]
			require.NotEqual(h.t, client.Drifted, v.Outcome)
			return v.Outcome == client.Equal
		}, guard, time.Millisecond)
	}
	return time.Since(began)
}

// work is what a broker has done for replicas that it does not do for all together.
func (h *herd) work() map[string]float64 {
	m := map[string]float64{}
	for _, name := range []string{"keyframe_folds_total", "keyframe_leases_granted_total", "keyframe_repair_scan_seconds_count", "keyframe_repair_refused_total", "keyframe_state_frame_bytes_total"} {
		m[name] = h.metric(name)
	}
	return m
}

// reconnected is what it took.
type reconnected struct {
	resumed, found, verified time.Duration // members; whole replicas; all at the next cut
	folds                    float64       // for the handshakes
	memory                   float64       // bytes of the broker for each member; 0: it is in this process
}

// reconnect restarts the broker under a herd and lets all of it come back in one moment.
func (h *herd) reconnect(kill bool) (r reconnected) {
	at := h.point()
	points := []*state.Point{at}
	before := h.work()
	h.each(func(m *member) error { return m.connect(h.t.Context(), points, h.info.Incarnation) })
	require.Equal(h.t, before, h.work(), "the broker worked for each of them")
	h.gate.set(true)
	h.restart(kill)
	require.Equal(h.t, at.Sum, h.point().Sum)
	before = h.work()
	empty := h.rss()

	h.gate.set(false)
	r.resumed = h.each(func(m *member) error { return m.connect(h.t.Context(), points, h.info.Incarnation) })
	r.found = h.wholeAreEqual()
	r.memory = float64(h.rss()-empty) / float64(len(h.members))
	after := h.work()
	r.folds = after["keyframe_folds_total"] - before["keyframe_folds_total"]
	require.Equal(h.t, before, after, "the broker worked for each of them")

	h.cut(topicName)
	r.verified = h.each(func(m *member) error { return m.verify(h.t.Context(), at, h.info.Incarnation) }) + h.wholeAreEqual()
	require.Equal(h.t, 1.0, h.work()["keyframe_folds_total"]-after["keyframe_folds_total"], "one frame for all")
	list, err := h.plane.Replicas(h.t.Context(), connect.NewRequest(&state.ReplicasRequest{Topic: topicName}))
	require.NoError(h.t, err)
	require.Len(h.t, list.Msg.Replicas, len(h.members)+len(h.whole))
	for _, x := range list.Msg.Replicas {
		require.Equal(h.t, state.Outcome_OUTCOME_EQUAL, x.Partitions[0].Outcome, x.Replica)
	}
	return r
}

// However many replicas come back at once, the broker folds nothing, cuts nothing and holds nothing for them.
func TestReconnectingCostsNoFold(t *testing.T) {
	h := newHerd(t, startNode(t, ""), 100, 3, 2_000)
	defer h.close()
	t.Logf("%+v", h.reconnect(false))
}

// BenchmarkReconnect is the figure: 1,000 replicas, 50 of which are whole, find a broker again that was killed.
func BenchmarkReconnect(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "keyframe")
	require.NoError(b, process.Build(b.Context(), binary))
	h := newHerd(b, startNode(b, binary), 950, 50, 5_000)
	defer h.close()
	r := h.reconnect(true)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r.folds, "folds")
	b.ReportMetric(r.resumed.Seconds(), "resumed-s")
	b.ReportMetric(r.found.Seconds(), "found-s")
	b.ReportMetric(r.verified.Seconds(), "verified-s")
	b.ReportMetric(r.memory, "B/replica")
}
