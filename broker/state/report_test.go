package state_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/replicas"
	"github.com/keyframelog/keyframe/broker/state"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/catalog"
)

func (n *node) report(m *api.ReportRequest) (*api.ReportResponse, error) {
	answer, err := n.client.Report(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return answer.Msg, nil
}

// reported is a well-formed report of partition 0 that differs from the log at a cut; change makes another of it.
func reported(replica string, cut int64, change func(*api.ReplicaPartition)) *api.ReportRequest {
	x := &api.ReplicaPartition{
		Incarnation: append([]byte{0, 1}, make([]byte, 14)...), Position: cut, Phase: "following", Outcome: api.Outcome_OUTCOME_DRIFTED,
		Compared: &api.Point{Offset: cut, Count: 1, Sum: make([]byte, 32)}, Repair: &api.Repair{Method: "index"},
	}
	if change != nil {
		change(x)
	}
	return &api.ReportRequest{Topic: topicName, Replica: replica, Host: "h pid 1", Partitions: []*api.ReplicaPartition{x}}
}

// dispute makes two replicas agree with one another, and not with the frame at a cut of partition 0.
func (n *node) dispute(cut int64) {
	n.t.Helper()
	for _, replica := range []string{"one", "two"} {
		_, err := n.report(reported(replica, cut, nil))
		require.NoError(n.t, err)
	}
}

// What replicas report is listed with its lag; two that agree against a frame dispute the partition, and an operator ends that.
func TestReportAndReplicas(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.logs[0].Append(memlog.Put("b", "1"))
	n.cut()
	n.clock.ms.Add(5000)
	n.logs[0].Append(memlog.Put("c", "1"))
	n.clock.ms.Add(250)
	answer, err := n.report(reported("one", 2, nil))
	require.NoError(t, err)
	require.EqualValues(t, 5_000, answer.IntervalMs)
	require.Empty(t, answer.Disputed)
	answer, err = n.report(reported("two", 2, nil))
	require.NoError(t, err)
	require.Equal(t, []int32{0}, answer.Disputed)

	list, err := n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{}))
	require.NoError(t, err)
	require.Len(t, list.Msg.Replicas, 2)
	one := list.Msg.Replicas[0]
	require.Equal(t, "files one h pid 1", one.Topic+" "+one.Replica+" "+one.Host)
	require.Equal(t, []int64{2, 1, 250}, []int64{one.Partitions[0].Position, one.Partitions[0].LagRecords, one.Partitions[0].LagMs})
	require.Len(t, list.Msg.Disputes, 1)
	require.Equal(t, []string{"one", "two"}, list.Msg.Disputes[0].Replicas)

	cleared, err := n.client.ClearDispute(context.Background(), connect.NewRequest(&api.ClearDisputeRequest{Topic: topicName}))
	require.NoError(t, err)
	require.True(t, cleared.Msg.Cleared)
	list, err = n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{Topic: topicName}))
	require.NoError(t, err)
	require.Empty(t, list.Msg.Disputes)
	_, body := n.request("GET", "/metrics")
	require.Contains(t, string(body), `keyframe_replicas_drifted{partition="0",topic="files"} 2`)
}

// Processes of one name are listed each for itself, and have a lease each; one that starts again has one entry.
func TestProcessesOfOneName(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.cut()
	x, y, again := []byte("instance of x..."), []byte("instance of y..."), []byte("instance of y, 2")
	report := func(instance []byte) (out []string) {
		t.Helper()
		m := reported("one", 1, nil)
		m.Instance = instance
		_, err := n.report(m)
		require.NoError(t, err)
		list, err := n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{}))
		require.NoError(t, err)
		for _, r := range list.Msg.Replicas {
			require.Len(t, list.Msg.Replicas, int(r.Processes))
			out = append(out, string(r.Instance))
		}
		return out
	}
	require.Equal(t, []string{string(x)}, report(x))
	require.Equal(t, []string{string(y)}, report(y))
	require.Equal(t, []string{string(x), string(y)}, report(x))
	require.Equal(t, []string{string(x), string(again)}, report(again))
	_, body := n.request("GET", "/metrics")
	require.Contains(t, string(body), `keyframe_replicas_shared_names{topic="files"} 1`)

	resume := func(instance []byte) []byte {
		t.Helper()
		got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: "one", Instance: instance})
		require.NoError(t, err)
		return got.Lease.Id
	}
	first, other, second := resume(x), resume(y), resume(x)
	_, why, _ := reason(t, n.renew(first, -1, false))
	require.Equal(t, api.Reason_REASON_LEASE_EXPIRED, why, "another of its own has taken its place")
	for _, id := range [][]byte{other, second} {
		require.NoError(t, n.renew(id, -1, false))
	}
}

// Who follows the frames is told of a dispute and of its end, on a topic in which nothing else happens; who comes later too.
func TestFramesTellOfDisputes(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.logs[1].Append(memlog.Put("b", "1"))
	n.cut()
	follow := func(partition *int32) *connect.ServerStreamForClient[api.FramesResponse] {
		stream, err := n.client.Frames(t.Context(), connect.NewRequest(&api.FramesRequest{Topic: topicName, Partition: partition, Follow: true}))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, stream.Close()) })
		return stream
	}
	requireTold := func(stream *connect.ServerStreamForClient[api.FramesResponse], want ...bool) *api.FramesResponse {
		t.Helper()
		require.True(t, stream.Receive(), stream.Err())
		m := stream.Msg()
		require.Len(t, m.Partitions, len(want))
		for i, x := range m.Partitions {
			require.EqualValues(t, i, x.Partition)
			require.EqualValues(t, 1, x.LastStableOffset)
			require.Equal(t, want[i], x.Disputed)
		}
		return m
	}
	settle := func() {
		_, err := n.client.ClearDispute(t.Context(), connect.NewRequest(&api.ClearDisputeRequest{Topic: topicName}))
		require.NoError(t, err)
	}
	stream, other := follow(nil), follow(ptr(int32(1)))
	requireTold(stream, false, false)
	require.True(t, other.Receive())
	n.dispute(1)
	require.Empty(t, requireTold(stream, true).Frames)
	late := follow(nil)
	requireTold(late, true, false)
	settle()
	requireTold(stream, false)
	requireTold(late, false)

	n.logs[1].Append(memlog.Put("c", "1"))
	n.cut()
	require.True(t, other.Receive())
	require.Empty(t, other.Msg().Partitions, "it is another's")
	require.Len(t, other.Msg().Frames, 1)
}

// A dispute is one partition's, and so is its end; a log is that of one life of a topic.
func TestDisputesAreOfAPartition(t *testing.T) {
	n := newNode(t, 2, nil)
	for _, l := range n.logs {
		l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	}
	n.cut()
	for _, replica := range []string{"one", "two"} {
		m := reported(replica, 2, func(x *api.ReplicaPartition) {
			x.Partition, x.Incarnation = 1, append([]byte{1, 1}, make([]byte, 14)...)
		})
		_, err := n.report(m)
		require.NoError(t, err)
	}
	clear := func(partition int32) bool {
		t.Helper()
		cleared, err := n.client.ClearDispute(context.Background(), connect.NewRequest(&api.ClearDisputeRequest{Topic: topicName, Partition: partition}))
		require.NoError(t, err)
		return cleared.Msg.Cleared
	}
	require.False(t, clear(0))
	require.True(t, clear(1))
	require.False(t, clear(1))

	find := replicas.In(n.k)
	_, ok := find(replicas.Topic{ID: [16]byte{7}, Name: topicName}, 1)
	require.True(t, ok)
	_, ok = find(replicas.Topic{ID: [16]byte{8}, Name: topicName}, 1)
	require.False(t, ok, "of another life of the topic")
	_, ok = find(replicas.Topic{ID: [16]byte{7}, Name: topicName}, 2)
	require.False(t, ok)
}

// A frame of the broker's own that a replica says it differs from, and does not, is no claim.
func TestClaimsAreComparedWithTheFrame(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	f := n.cut().Frames[0]
	same := func(x *api.ReplicaPartition) { x.Compared.Count, x.Compared.Sum = f.Count, f.Sum }
	for _, name := range []string{"one", "two"} {
		answer, err := n.report(reported(name, f.Cut, same))
		require.NoError(t, err)
		require.Empty(t, answer.Disputed)
	}
}

// No replica is further than the log; of a log that was created anew its position says nothing.
func TestReportsFromTheFuture(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	for name, change := range map[string]func(*api.ReplicaPartition){
		"position": func(x *api.ReplicaPartition) { x.Position = 3 },
		"verified": func(x *api.ReplicaPartition) { x.Verified = 1_000_000_000_000 },
		"no state": func(x *api.ReplicaPartition) { x.Position, x.Incarnation = 3, nil },
	} {
		_, err := n.report(reported("r", 2, change))
		code, why, detail := reason(t, err)
		require.Equal(t, connect.CodeOutOfRange, code, name)
		require.Equal(t, api.Reason_REASON_FUTURE_POSITION, why, name)
		require.EqualValues(t, 2, detail.LastStableOffset)
	}
	list, err := n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{}))
	require.NoError(t, err)
	require.Empty(t, list.Msg.Replicas)
	for _, change := range []func(*api.ReplicaPartition){
		func(x *api.ReplicaPartition) { x.Position, x.Verified = 2, 2 },
		func(x *api.ReplicaPartition) { x.Position, x.Incarnation[15] = 3, 9 },
	} {
		_, err := n.report(reported("r", 2, change))
		require.NoError(t, err)
	}
}

// The words of reports are those that replicas of every release say.
func TestWordsOfReports(t *testing.T) {
	n := newNode(t, 1, nil)
	phases, methods := []string{"bootstrapping", "following", "repairing", "halted"}, []string{"rehash", "index", "rows", "sketch", "tags", "delta", "frame"}
	require.Equal(t, phases, api.Phases())
	require.Equal(t, methods, api.Methods())
	for _, phase := range phases {
		for _, method := range methods {
			_, err := n.report(reported("r", 0, func(x *api.ReplicaPartition) { x.Phase, x.Repair = phase, &api.Repair{Method: method} }))
			require.NoError(t, err)
		}
	}
	_, err := n.report(reported("r", 0, func(x *api.ReplicaPartition) { x.Phase = "resting" }))
	require.ErrorContains(t, err, `phase "resting": it is one of bootstrapping, following, repairing, halted`)
	_, err = n.report(reported("r", 0, func(x *api.ReplicaPartition) { x.Repair = &api.Repair{Method: "magic"} }))
	require.ErrorContains(t, err, `repair by "magic": it is by one of rehash, index, rows, sketch, tags, delta, frame`)
}

func TestBadReports(t *testing.T) {
	n := newNode(t, 1, nil)
	for name, change := range map[string]func(*api.ReplicaPartition){
		"phase":         func(x *api.ReplicaPartition) { x.Phase = "resting" },
		"incarnation":   func(x *api.ReplicaPartition) { x.Incarnation = []byte{1} },
		"outcome":       func(x *api.ReplicaPartition) { x.Outcome = 9 },
		"no point":      func(x *api.ReplicaPartition) { x.Compared = nil },
		"sum":           func(x *api.ReplicaPartition) { x.Compared.Sum = x.Compared.Sum[1:] },
		"position":      func(x *api.ReplicaPartition) { x.Position = -1 },
		"count":         func(x *api.ReplicaPartition) { x.Compared.Count = -1 },
		"method":        func(x *api.ReplicaPartition) { x.Repair.Method = "" },
		"keys":          func(x *api.ReplicaPartition) { x.Repair.Keys = -1 },
		"bootstraps":    func(x *api.ReplicaPartition) { x.Bootstraps = -1 },
		"start":         func(x *api.ReplicaPartition) { x.Compared.Start = -1 },
		"equal to none": func(x *api.ReplicaPartition) { x.Compared, x.Outcome = nil, api.Outcome_OUTCOME_EQUAL },
		"compared at":   func(x *api.ReplicaPartition) { x.Compared.Offset = -1 },
		"compared when": func(x *api.ReplicaPartition) { x.ComparedMs = -1 },
		"verified":      func(x *api.ReplicaPartition) { x.Verified = -1 },
		"verified when": func(x *api.ReplicaPartition) { x.VerifiedMs = -1 },
		"repairs":       func(x *api.ReplicaPartition) { x.Repairs = -1 },
		"repaired at":   func(x *api.ReplicaPartition) { x.Repair.Cut = -1 },
		"bytes":         func(x *api.ReplicaPartition) { x.Repair.Bytes = -1 },
		"duration":      func(x *api.ReplicaPartition) { x.Repair.DurationUs = -1 },
		"repaired when": func(x *api.ReplicaPartition) { x.Repair.TimeMs = -1 },
		"round trips":   func(x *api.ReplicaPartition) { x.Repair.RoundTrips = -1 },
	} {
		_, err := n.report(reported("r", 0, change))
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), name)
	}
	for name, replica := range map[string]string{"none": "", "long": strings.Repeat("x", 250), "a terminal's": "a\x1b[2J"} {
		_, err := n.report(reported(replica, 0, nil))
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), name)
	}
	for name, host := range map[string]string{"long": strings.Repeat("x", 513), "a terminal's": "a\x1b[2J"} {
		m := reported("r", 0, nil)
		m.Host = host
		_, err := n.report(m)
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), name)
	}
	_, err := n.report(&api.ReportRequest{Topic: topicName, Replica: "r", Instance: []byte("short")})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	many := reported("r", 0, nil)
	many.Partitions = make([]*api.ReplicaPartition, 5000)
	for i := range many.Partitions {
		many.Partitions[i] = &api.ReplicaPartition{Phase: "following"}
	}
	_, err = n.report(many)
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	_, err = n.report(reported("r", 0, func(x *api.ReplicaPartition) { x.Partition = 1 }))
	code, why, _ := reason(t, err)
	require.Equal(t, connect.CodeNotFound, code)
	require.Equal(t, api.Reason_REASON_UNKNOWN_PARTITION, why)
	_, err = n.report(&api.ReportRequest{Topic: "nope", Replica: "r"})
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_UNKNOWN_TOPIC, why)
	_, err = n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{Topic: "nope"}))
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_UNKNOWN_TOPIC, why)
	_, err = n.client.ClearDispute(context.Background(), connect.NewRequest(&api.ClearDisputeRequest{Topic: topicName, Partition: 1}))
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_UNKNOWN_PARTITION, why)
	list, err := n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{}))
	require.NoError(t, err)
	require.Empty(t, list.Msg.Replicas)
	_, err = n.report(&api.ReportRequest{Topic: topicName, Replica: "r"})
	require.NoError(t, err, "of no partition: so a replica finds out that it was one that was refused")
}

// none stores nothing.
type none struct{}

func (none) ChangeDisputes([]catalog.Dispute, []catalog.Settlement, []catalog.DisputedPartition) error {
	return nil
}
func (none) Disputes() ([]catalog.Dispute, error)       { return nil, nil }
func (none) Settlements() ([]catalog.Settlement, error) { return nil, nil }

// A replica that there is no room for is told so, with a reason; a reason that it gave is cut.
func TestReportsAreBounded(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) {
		var err error
		c.Replicas, err = replicas.Open(replicas.Config{Find: replicas.In(c.Keyframer), Store: none{}, ReplicasMax: 1, Now: c.Now})
		require.NoError(t, err)
	})
	_, err := n.report(reported("one", 0, func(x *api.ReplicaPartition) { x.Reason = strings.Repeat("€", 1000) }))
	require.NoError(t, err)
	_, err = n.report(reported("two", 0, nil))
	code, why, _ := reason(t, err)
	require.Equal(t, connect.CodeResourceExhausted, code)
	require.Equal(t, api.Reason_REASON_TOO_MANY_REPLICAS, why)
	list, err := n.client.Replicas(context.Background(), connect.NewRequest(&api.ReplicasRequest{}))
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("€", 85), list.Msg.Replicas[0].Partitions[0].Reason)
}
