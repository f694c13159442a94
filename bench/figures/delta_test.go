package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

const (
	deltaShare      = 50        // one in so many rows has changed
	deltaBytesMax   = 2_500_000 // of 20,000 rows of 115 bytes
	deltaSecondsMax = 0.2
)

// wake lets a replica fall asleep, changes n rows and trims the log past its position, and returns what it cost to be equal again, and what it
// had cost to load the whole frame. A replica in memory is cut off meanwhile, one in a directory is closed.
func wake(t testing.TB, w *world, store client.Store, inMemory bool, n int) (whole, delta cost) {
	var g gate
	l := g.guardLink(w.link())
	r := openReplica(t, l, topicName, store)
	defer func() { require.NoError(t, r.Close()) }()
	whole = r.meter.cost(r.await(client.Bootstrapped).Time)
	require.Eventually(t, func() bool { return w.metric("keyframe_leases") == 0 }, guard, time.Millisecond, "it holds what it was to load")
	if inMemory {
		g.set(true)
	} else {
		require.NoError(t, r.Close())
	}
	asleep := w.next
	w.change(1) // and again with the others: what is left of the log does not lead on from where it fell asleep
	w.change(n)
	w.trimPast(asleep)
	if inMemory {
		r.meter.reset()
		g.set(false)
	} else {
		r = openReplica(t, l, topicName, store)
	}
	e := r.await(client.CaughtUp)
	delta = r.meter.cost(e.Time)
	require.EqualValues(t, n, e.Rows)
	r.catchUp(0, w.next)
	r.requireEqual()
	return whole, delta
}

// trimPast goes on until only rows are left of what lay at an offset.
func (w *world) trimPast(offset int64) {
	w.configure(topicName, map[string]string{"keyframe.delta.retention.ms": "0", "keyframe.delta.retention.bytes": "0", "min.compaction.lag.ms": "0"})
	require.Eventually(w.t, func() bool {
		w.cut(topicName)
		w.change(1) // the last batch always stays
		return w.partitions(topicName)[0].DeltaStartOffset > offset
	}, guard, time.Millisecond)
}

// What a replica that wakes is given are the rows that have changed.
func TestWakingCostsWhatChanged(t *testing.T) {
	w := newWorld(t, rowsSmall)
	for _, inMemory := range []bool{true, false} {
		name, store := wakingStore(t, inMemory)
		t.Run(name, func(t *testing.T) {
			whole, delta := wake(t, w, store, inMemory, rowsSmall/deltaShare)
			t.Logf("%d changed rows: %d bytes in %d round trips; a whole frame is %d", rowsSmall/deltaShare, delta.bytes, delta.trips, whole.bytes)
			require.LessOrEqual(t, delta.bytes, int64(deltaBytesMax/(rowsFull/rowsSmall)))
			require.EqualValues(t, 2, delta.trips, "ask, and load")
		})
	}
}

func wakingStore(t testing.TB, inMemory bool) (string, client.Store) {
	if inMemory {
		return "memory", client.Memory()
	}
	return "dir", client.Dir(t.TempDir() + "/replica")
}

// BenchmarkWake is the figure: 20 k of 1 M rows have changed.
func BenchmarkWake(b *testing.B) {
	w := newWorld(b, rowsFull)
	for _, inMemory := range []bool{true, false} {
		name, store := wakingStore(b, inMemory)
		whole, delta := wake(b, w, store, inMemory, rowsFull/deltaShare)
		b.Run(fmt.Sprintf("store=%s/keys=%d", name, rowsFull/deltaShare), func(b *testing.B) { report(b, delta, whole) })
	}
}
