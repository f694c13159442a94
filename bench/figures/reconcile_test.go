package main

import (
	"fmt"
	"iter"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// sourceOf is the rows of a replica, with another value in so many of them: in those that change changes.
func sourceOf(t testing.TB, r *client.Replica, rows, differ int) iter.Seq2[client.Row, error] {
	return func(yield func(client.Row, error) bool) {
		i := 0
		for row, err := range r.Scan(t.Context(), nil) {
			if differ > 0 && i%(rows/differ) == 0 && i/(rows/differ) < differ {
				row.Value = append([]byte("lost before the log: "), row.Value...)
			}
			if i++; !yield(row, err) {
				return
			}
		}
	}
}

// reconcile compares a source with the log, and returns what it cost on the wire.
func (w *world) reconcile(t testing.TB, r *client.Replica, differ int) (cost, client.Method) {
	m := newMeter(w.link().state)
	defer m.CloseIdleConnections()
	config := client.CompareConfig{StateURL: stateURL, HTTPClient: &http.Client{Transport: m}, Topic: topicName}
	found, err := client.Compare(t.Context(), config, sourceOf(t, r, w.rows, differ))
	require.NoError(t, err)
	require.EqualValues(t, differ, found.Puts)
	require.Zero(t, found.Deletes+found.Moved)
	return m.cost(time.Now()), found.Method
}

// A source is compared with the log at the cost of the difference: nothing but digests where there is none.
func TestReconcileCostsTheDifference(t *testing.T) {
	w := newWorld(t, rowsSmall)
	r := openReplica(t, w.link(), topicName, client.Memory())
	defer func() { require.NoError(t, r.Close()) }()
	for _, b := range []struct {
		keys   int
		bytes  int64
		method client.Method
	}{{0, 1_000, client.ByDigest}, {1, 4_000, client.BySketch}, {1_000, 200_000, client.BySketch}, {10_000, 2_000_000, client.BySketch}} {
		got, method := w.reconcile(t, r.Replica, b.keys)
		t.Logf("%d keys: %d bytes in %d round trips", b.keys, got.bytes, got.trips)
		require.Equal(t, b.method, method)
		require.LessOrEqual(t, got.bytes, b.bytes, "%d keys", b.keys)
	}
}

func BenchmarkReconcile(b *testing.B) {
	w := newWorld(b, rowsFull)
	r := openReplica(b, w.link(), topicName, client.Memory())
	defer func() { require.NoError(b, r.Close()) }()
	whole := r.meter.cost(r.await(client.Bootstrapped).Time)
	for _, keys := range []int{0, 1, 1_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			var got cost
			for b.Loop() {
				got, _ = w.reconcile(b, r.Replica, keys)
			}
			report(b, got, whole)
		})
	}
}
