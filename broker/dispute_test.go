package broker

import (
	"context"
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// startBrokerAgain starts a broker, and returns how it is stopped and started again on the same addresses.
func startBrokerAgain(t *testing.T) (b *Broker, again func() *Broker) {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	start := func() {
		require.Eventually(t, func() bool { // somebody else may have been given the port meanwhile, of those that are anybody's
			started, err := Start(t.Context(), cfg)
			if errors.Is(err, syscall.EADDRINUSE) {
				return false
			}
			require.NoError(t, err)
			b = started
			return true
		}, guard, 10*time.Millisecond)
		cfg.KafkaAddr, cfg.StateAddr = b.KafkaAddr().String(), b.StateAddr().String()
	}
	start()
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b, func() *Broker {
		require.NoError(t, b.Close())
		start()
		return b
	}
}

// disagrees returns when a replica has seen that it differs.
func (m *mended) disagrees() {
	m.l.t.Helper()
	m.caughtUp()
	m.await(client.DriftFound)
}

// disputes are those that the broker tells of.
func (l *ledger) disputes(plane stateconnect.StateServiceClient) []*state.Dispute {
	l.t.Helper()
	list, err := plane.Replicas(l.t.Context(), connect.NewRequest(&state.ReplicasRequest{Topic: "ledger"}))
	require.NoError(l.t, err)
	return list.Msg.Disputes
}

// Where replicas agree against the broker, a restart does not make its word the truth: one of them that comes back alone is refused a repair at the next
// frame, names what differs, and stays as it is; the operator's word is carried out at once, with no write and no frame.
func TestADisputeOutlivesARestart(t *testing.T) {
	b, again := startBrokerAgain(t)
	l := b.ledger(t, map[string]string{"keyframe.interval.ms": "3600000"})
	l.add(0, change{"key-006", 1}, change{"key-007", 1})
	l.cut()
	f, never := forger{[]byte("key-007"), []byte("nobody7")}, forger{[]byte("nothing like this"), []byte("nothing like that")}
	dir := client.DirFS(vfs.NewMem(), "replica")
	parties := []*mended{l.mend(dir, client.Report, f), l.mend(client.Memory(), client.Report, f)}
	l.add(0, change{"key-007", 2})
	for _, m := range parties {
		m.caughtUp()
	}
	l.cut()
	for _, m := range parties {
		m.disagrees()
	}
	plane := planeOf(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	topic, _ := b.keyframer.Topic("ledger")
	for {
		changed := b.replicas.Changed()
		if b.replicas.Disputed(topic.ID, 0) {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("there is no dispute")
		}
	}
	before := l.disputes(plane)
	require.Len(t, before, 1)
	require.Len(t, before[0].Replicas, 2)
	for _, m := range parties {
		require.NoError(t, m.Close())
	}

	restart := func() {
		l.b = again()
		held, _ := l.b.topics.Get("ledger")
		l.p = held.Partitions[0].Log
		plane = planeOf(t, l.b)
	}
	restart()
	after := l.disputes(plane)
	require.Len(t, after, 1)
	require.EqualExportedValues(t, before[0], after[0])
	m := l.mend(dir, client.Repair, never)
	m.await(client.RepairRefused)
	l.add(0, change{"key-006", 1})
	m.caughtUp()
	l.cut()
	m.await(client.RepairRefused)
	require.Contains(t, m.differed(), "key-007")
	require.Contains(t, m.differed(), "nobody7")
	_, ok, err := m.Get(t.Context(), []byte("nobody7"))
	require.NoError(t, err)
	require.True(t, ok, "it is as it was")
	restart()
	require.Len(t, l.disputes(plane), 1)

	settled, err := plane.ClearDispute(t.Context(), connect.NewRequest(&state.ClearDisputeRequest{Topic: "ledger"}))
	require.NoError(t, err)
	require.True(t, settled.Msg.Cleared)
	e := m.await(client.Repaired)
	require.Equal(t, client.BySketch, e.Repair.Method)
	m.closeEqual() // a lease that was given back while the broker was away ends by itself
	restart()
	require.Empty(t, l.disputes(plane))
}
