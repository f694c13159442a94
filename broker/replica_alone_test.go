package broker

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// A replica that has the data plane alone goes on over aborted transactions: it sees that the log still has them, and reads nothing twice.
func TestReplicaAloneGoesOnOverAbortedTransactions(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		l := startBroker(t).ledger(t, nil)
		l.add(0, change{"a", 1})
		var began, lost atomic.Int64
		r, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{l.b.KafkaAddr().String()}, Topic: "ledger", Store: store, From: client.FromEarliest,
			OnEvent: func(e client.Event) {
				switch e.Kind {
				case client.Bootstrapped:
					began.Add(1)
				case client.OutOfRange:
					lost.Add(1)
				}
			},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, r.Close()) }()
		f := &follower{Replica: r}
		for range 3 {
			l.add(7, change{"a", 10}, change{"b", 10})
			l.add(0, change{"a", 1}) // within the transaction's records
			l.add(7, change{"a", 10}, change{"b", 10})
			l.end(7, false)
			l.add(0, change{"c", 1})
			require.Equal(t, l.committed, l.state(f))
		}
		require.Equal(t, int64(1), began.Load())
		require.Zero(t, lost.Load())
	})
}
