package broker

import (
	"net/http"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// A lease outlives the broker's restart, and the deletion of its topic is told.
func TestLeasesOutliveARestart(t *testing.T) {
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	plane := func(b *Broker) stateconnect.StateServiceClient {
		return stateconnect.NewStateServiceClient(&http.Client{Transport: transport}, "http://"+b.StateAddr().String())
	}
	b, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	b.ledger(t, nil).add(0, change{"a", 1})
	_, err = plane(b).Cut(t.Context(), connect.NewRequest(&api.CutRequest{Topic: "ledger"}))
	require.NoError(t, err)
	resumed, err := plane(b).Resume(t.Context(), connect.NewRequest(&api.ResumeRequest{Topic: "ledger", Replica: "r", LeaderEpoch: -1}))
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_FRAME, resumed.Msg.Answer)
	id := resumed.Msg.Lease.Id
	transport.CloseIdleConnections()
	require.NoError(t, b.Close())

	b, err = Start(t.Context(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	renew := &api.RenewLeaseRequest{Topic: "ledger", Id: id, Position: -1}
	renewed, err := plane(b).RenewLease(t.Context(), connect.NewRequest(renew))
	require.NoError(t, err)
	require.Equal(t, resumed.Msg.Lease.From, renewed.Msg.Lease.From)
	topic, ok := b.topics.Get("ledger")
	require.True(t, ok)
	from, _, cuts := b.leases.Held(topic.ID, 0)
	require.EqualValues(t, resumed.Msg.Lease.From, from)
	require.Equal(t, []int64{resumed.Msg.Lease.Cut}, cuts)

	require.NoError(t, b.topics.Delete(t.Context(), "ledger"))
	_, err = plane(b).RenewLease(t.Context(), connect.NewRequest(renew))
	var refused *connect.Error
	require.ErrorAs(t, err, &refused)
	value, err := refused.Details()[0].Value()
	require.NoError(t, err)
	require.Equal(t, api.Reason_REASON_TOPIC_DELETED, value.(*api.ErrorDetail).Reason)
	transport.CloseIdleConnections()
}
