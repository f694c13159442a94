package broker

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// What replicas are watched by is on /metrics, and moves: lag, verdicts, repairs, disputes, leases and how they end; stale fetches, scrubs and damage are
// there before anything of the kind has happened.
func TestReplicasInMetrics(t *testing.T) {
	var nowMs atomic.Int64
	nowMs.Store(time.Now().UnixMilli())
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	cfg.Now = func() time.Time { return time.UnixMilli(nowMs.Load()) }
	b, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport}
	plane := stateconnect.NewStateServiceClient(web, "http://"+b.StateAddr().String())
	shows := func(lines ...string) {
		t.Helper()
		answer, err := web.Get("http://" + b.StateAddr().String() + "/metrics")
		require.NoError(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		for _, line := range lines {
			require.True(t, bytes.Contains(body, []byte("\n"+line+"\n")), line)
		}
	}
	const of = `{partition="0",topic="ledger"} `
	l := b.ledger(t, nil)
	l.add(0, change{"a", 1})
	cut, err := plane.Cut(t.Context(), connect.NewRequest(&api.CutRequest{Topic: "ledger"}))
	require.NoError(t, err)
	f := cut.Msg.Frames[0]
	shows("keyframe_leases 0", "keyframe_leases_granted_total 0", "keyframe_stale_fetches_total"+of+"0", "keyframe_scrub_corrupt_total 0",
		"keyframe_rows_damaged"+of+"0", "keyframe_repair_corrupt_total 0", "keyframe_replicas_refused_total 0")

	resume := func() *api.Lease {
		t.Helper()
		resumed, err := plane.Resume(t.Context(), connect.NewRequest(&api.ResumeRequest{Topic: "ledger", Replica: "r", LeaderEpoch: -1}))
		require.NoError(t, err)
		return resumed.Msg.Lease
	}
	lease := resume()
	shows("keyframe_leases 1", "keyframe_leases_granted_total 1")
	nowMs.Add(30_000)
	_, err = plane.RenewLease(t.Context(), connect.NewRequest(&api.RenewLeaseRequest{Topic: "ledger", Id: lease.Id}))
	require.Equal(t, connect.CodeFailedPrecondition, connect.CodeOf(err))
	lease = resume()
	_, err = plane.RenewLease(t.Context(), connect.NewRequest(&api.RenewLeaseRequest{Topic: "ledger", Id: lease.Id, Release: true}))
	require.NoError(t, err)
	resume()
	topic, ok := b.topics.Get("ledger")
	require.True(t, ok)
	_, err = b.leases.RevokeLargest(t.Context())
	require.NoError(t, err)
	shows("keyframe_leases 1") // it holds no deltas
	l.add(0, change{"a", 1}, change{"b", 1})
	_, err = b.leases.RevokeLargest(t.Context())
	require.NoError(t, err)
	resume()
	require.NoError(t, b.leases.DropTopic(topic.ID))
	shows("keyframe_leases 0", "keyframe_leases_granted_total 4", `keyframe_leases_ended_total{reason="expired"} 1`, `keyframe_leases_ended_total{reason="released"} 1`,
		`keyframe_leases_ended_total{reason="revoked"} 1`, `keyframe_leases_ended_total{reason="topic_deleted"} 1`)

	report := func(replica string, change func(*api.ReplicaPartition)) {
		t.Helper()
		x := &api.ReplicaPartition{Incarnation: f.Incarnation, Position: f.Cut, Phase: "following", Outcome: api.Outcome_OUTCOME_EQUAL,
			Compared: &api.Point{Offset: f.Cut, Start: f.Start, Count: f.Count, Sum: f.Sum}}
		change(x)
		_, err := plane.Report(t.Context(), connect.NewRequest(&api.ReportRequest{Topic: "ledger", Replica: replica, Partitions: []*api.ReplicaPartition{x}}))
		require.NoError(t, err)
	}
	nowMs.Add(7_000)
	report("r", func(*api.ReplicaPartition) {})
	report("r", func(x *api.ReplicaPartition) {
		x.Repairs, x.Repair = 1, &api.Repair{Method: "sketch", Keys: 3, Bytes: 400}
	})
	shows("keyframe_replicas"+of+"1", "keyframe_replicas_lag_records_max"+of+"2", "keyframe_replicas_lag_seconds_max"+of+"7", "keyframe_replicas_repairs_total"+of+"1",
		"keyframe_replicas_repaired_keys_total"+of+"3", "keyframe_replicas_repaired_bytes_total"+of+"400", "keyframe_replicas_disputed"+of+"0",
		`keyframe_replicas_verdicts_total{outcome="equal",partition="0",topic="ledger"} 1`)
	for _, replica := range []string{"one", "two"} {
		report(replica, func(x *api.ReplicaPartition) {
			x.Outcome, x.Compared.Sum = api.Outcome_OUTCOME_DRIFTED, make([]byte, 32)
		})
	}
	shows("keyframe_replicas_drifted"+of+"2", "keyframe_replicas_disputed"+of+"1", `keyframe_replicas_verdicts_total{outcome="drifted",partition="0",topic="ledger"} 2`)
	_, err = plane.ClearDispute(t.Context(), connect.NewRequest(&api.ClearDisputeRequest{Topic: "ledger"}))
	require.NoError(t, err)
	shows("keyframe_replicas_disputed" + of + "0")
}
