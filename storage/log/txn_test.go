package log

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

func endTxn(t testing.TB, s *Store, m Marker, parts ...*Partition) {
	t.Helper()
	a, err := s.AppendMarkers(parts, m, nil)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
}

func lastBatch(t *testing.T, p *Partition) batch.Batch {
	t.Helper()
	all := stored(t, p)
	return all[len(all)-1]
}

// The last stable offset lies at the oldest open transaction, and moves on with the marker, across restarts.
func TestLastStable(t *testing.T) {
	fs, c := vfs.NewMem(), &clock{ms: 1_000_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c})
	p := n.parts[0]
	stable := func(want int64) {
		t.Helper()
		b := p.Bounds()
		require.Equal(t, want, b.LastStable)
		require.Equal(t, b.LogEnd, b.HighWatermark)
	}
	appendWait(t, p, rec{n: 3})
	stable(3)
	appendWait(t, p, rec{n: 2, pid: 7, txn: true}) // 3, 4
	stable(3)
	c.ms += 5
	appendWait(t, p, rec{pid: 8, txn: true}) // 5
	appendWait(t, p, rec{pid: 7, sequence: 2, txn: true})
	appendWait(t, p, rec{}) // 7
	stable(3)
	open := []OpenTxn{{ProducerID: 7, FirstOffset: 3, SinceMs: 1_000_000}, {ProducerID: 8, FirstOffset: 5, SinceMs: 1_000_005}}
	require.Equal(t, open, p.OpenTxns())

	n.close()
	n = openNode(t, nodeConfig{fs: fs, clock: c})
	p = n.parts[0]
	stable(3)
	require.Equal(t, open, p.OpenTxns())

	endTxn(t, n.store, Marker{ProducerID: 8, CoordinatorEpoch: 1}, p) // 8: the later one first, aborted
	stable(3)
	require.Equal(t, open[:1], p.OpenTxns())
	list, err := p.Aborted(0, 100)
	require.NoError(t, err)
	require.Empty(t, list, "it overlaps nothing that a reader of committed records sees yet")
	endTxn(t, n.store, Marker{ProducerID: 7, Commit: true}, p) // 9
	stable(10)
	require.Empty(t, p.OpenTxns())
	want := []AbortedTxn{{ProducerID: 8, FirstOffset: 5, LastOffset: 8}}
	for _, span := range []struct {
		from, end int64
		listed    bool
	}{{0, 10, true}, {0, 6, true}, {0, 5, false}, {8, 9, true}, {9, 10, false}, {6, 7, true}} {
		list, err = p.Aborted(span.from, span.end)
		require.NoError(t, err)
		if span.listed {
			require.Equal(t, want, list, "%v", span)
		} else {
			require.Empty(t, list, "%v", span)
		}
	}
	m, err := batch.ParseEndTxn(lastBatch(t, p))
	require.NoError(t, err)
	require.Equal(t, batch.EndTxn{ProducerID: 7, Commit: true}, m)
	n.close()
	n = openNode(t, nodeConfig{fs: fs, clock: c})
	defer n.close()
	p = n.parts[0]
	stable(10)
	list, err = p.Aborted(0, 10)
	require.NoError(t, err)
	require.Equal(t, want, list)
	require.True(t, IsAborted(want, stored(t, p)[2]))
	require.False(t, IsAborted(want, stored(t, p)[3]))

	// A trim drops what ended below it.
	require.NoError(t, p.TrimTo(t.Context(), 8))
	_, err = p.Aborted(5, 10)
	require.ErrorIs(t, err, ErrTrimmed)
	list, err = p.Aborted(8, 10)
	require.NoError(t, err)
	require.Equal(t, want, list)
	require.NoError(t, p.TrimTo(t.Context(), 9))
	list, err = p.Aborted(9, 10)
	require.NoError(t, err)
	require.Empty(t, list)
}

// A transaction that ends behind one which began beyond the asked range may have begun within it.
func TestAbortedOfALongTransaction(t *testing.T) {
	n := openNode(t, nodeConfig{})
	defer n.close()
	p := n.parts[0]
	appendWait(t, p, rec{n: 2, pid: 7, txn: true}) // 0, 1
	appendWait(t, p, rec{n: 3})                    // to 4
	appendWait(t, p, rec{pid: 8, txn: true})       // 5
	endTxn(t, n.store, Marker{ProducerID: 8}, p)   // 6
	endTxn(t, n.store, Marker{ProducerID: 7}, p)   // 7
	list, err := p.Aborted(0, 4)
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{ProducerID: 7, FirstOffset: 0, LastOffset: 7}}, list)
}

// The last stable offset and the answer wait for the marker's sync, and one batch carries all markers and what else is to be written.
func TestMarkersAreOneWrite(t *testing.T) {
	fs, gate := vfs.NewMem(), newSyncGate()
	n := openNode(t, nodeConfig{fs: gate.wrap(fs), partitions: 3})
	appendWait(t, n.parts[0], rec{pid: 7, txn: true})
	appendWait(t, n.parts[2], rec{n: 4, pid: 7, txn: true})
	woken := make(chan struct{}, 8)
	defer n.parts[2].Watch(func() { woken <- struct{}{} })()
	gate.shut()
	key := []byte("Cbeside")
	a, err := n.store.AppendMarkers([]*Partition{n.parts[2], n.parts[0], n.parts[2]}, Marker{ProducerID: 7, ProducerEpoch: 1, Commit: true, Bumped: true},
		func(pb *pebble.Batch) error { return pb.Set(key, []byte("written"), nil) })
	require.NoError(t, err)
	require.Equal(t, int64(5), n.parts[2].Bounds().LogEnd, "one marker, though the partition was named twice")
	require.Equal(t, int64(0), n.parts[2].Bounds().LastStable)
	require.Empty(t, n.parts[2].OpenTxns(), "the end is decided")
	select {
	case <-a.Done():
		t.Fatal("answered before the sync")
	default:
	}
	gate.open()
	require.NoError(t, a.Wait(t.Context()))
	require.Equal(t, int64(5), n.parts[2].Bounds().LastStable)
	require.Equal(t, int64(2), n.parts[0].Bounds().LastStable)
	require.Equal(t, int64(0), n.parts[1].Bounds().LogEnd)
	<-woken
	value, closer, err := n.store.db.Get(key)
	require.NoError(t, err)
	require.Equal(t, "written", string(value))
	require.NoError(t, closer.Close())

	// Nothing is written when the extra fails, or one partition refuses.
	appendWait(t, n.parts[2], rec{pid: 8, epoch: 3, txn: true})
	before := n.store.Metrics()
	failed := errors.New("no")
	_, err = n.store.AppendMarkers(n.parts, Marker{ProducerID: 9}, func(*pebble.Batch) error { return failed })
	require.ErrorIs(t, err, failed)
	_, err = n.store.AppendMarkers(n.parts, Marker{ProducerID: 8, ProducerEpoch: 2}, func(pb *pebble.Batch) error { return pb.Delete(key, nil) })
	require.Equal(t, StaleEpoch, kindOf(err))
	require.Equal(t, int64(0), n.parts[1].Bounds().LogEnd)
	require.Equal(t, before.InFlightBytes, n.store.Metrics().InFlightBytes)
	_, closer, err = n.store.db.Get(key)
	require.NoError(t, err)
	require.NoError(t, closer.Close())

	a, err = n.store.AppendMarkers(nil, Marker{ProducerID: 7}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()), "nothing to write is no reason to wait")

	// Without partitions it is a durable write; a dropped partition is left out.
	a, err = n.store.AppendMarkers(nil, Marker{ProducerID: 7, ProducerEpoch: 1}, func(pb *pebble.Batch) error { return pb.Delete(key, nil) })
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	require.NoError(t, n.store.DropPartition(n.parts[0].ID()))
	endTxn(t, n.store, Marker{ProducerID: 7, ProducerEpoch: 2, Bumped: true}, n.parts...)
	require.Equal(t, int64(1), n.parts[1].Bounds().LastStable)
	require.NoError(t, n.store.Close())
	_, err = n.store.AppendMarkers(nil, Marker{ProducerID: 7}, nil)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, n.dir.Close())
}

// A marker that is written and not synced ends nothing, though the marker of another transaction is synced before it.
func TestMarkerBehindAnother(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	appendWait(t, p, rec{pid: 7, txn: true}) // 0
	appendWait(t, p, rec{pid: 8, txn: true}) // 1
	moved := make(chan Bounds, 8)
	gate.shut()
	defer p.Watch(func() { moved <- p.Bounds() })()
	first, err := n.store.AppendMarkers(n.parts, Marker{ProducerID: 7, Commit: true}, nil)
	require.NoError(t, err)
	second, err := n.store.AppendMarkers(n.parts, Marker{ProducerID: 8, Commit: true}, nil)
	require.NoError(t, err)
	gate.open()
	require.NoError(t, first.Wait(t.Context()))
	require.NoError(t, second.Wait(t.Context()))
	require.Equal(t, Bounds{HighWatermark: 3, Synced: 3, LastStable: 1, LogEnd: 4}, <-moved, "the first marker is synced")
	require.Equal(t, Bounds{HighWatermark: 4, Synced: 4, LastStable: 4, LogEnd: 4}, <-moved)
}

// Transactions that end in the same partitions at the same time, named in any order, beside appends and readers: nobody waits for ever,
// and no reader of committed records sees a last stable offset that goes back.
func TestMarkersBesideAppends(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 4, log: Config{TailBytes: 20_000}})
	defer n.close()
	done := make(chan struct{})
	var reading, writing sync.WaitGroup
	for _, p := range n.parts {
		reading.Go(func() {
			for last := int64(0); ; {
				b := p.Bounds()
				if !(last <= b.LastStable && b.LastStable <= b.HighWatermark && b.HighWatermark <= b.LogEnd) {
					t.Errorf("last stable offset %d after %d, high watermark %d, log end %d", b.LastStable, last, b.HighWatermark, b.LogEnd)
					return
				}
				last = b.LastStable
				if _, err := p.Aborted(0, last); err != nil {
					t.Errorf("%v", err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	errs := make([]error, 6)
	for w := range errs {
		writing.Go(func() { errs[w] = transactAlone(t, n, int64(100+w), uint64(w)) })
	}
	writing.Wait()
	close(done)
	reading.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, p := range n.parts {
		b := p.Bounds()
		require.Equal(t, b.LogEnd, b.LastStable)
		require.Empty(t, p.OpenTxns())
	}
}

// transactAlone runs transactions of one producer, each over some of the partitions.
func transactAlone(t *testing.T, n *node, pid int64, seed uint64) error {
	r := rand.New(rand.NewPCG(seed, 1))
	sequences := make([]int32, len(n.parts))
	for range 100 {
		parts := slices.Clone(n.parts)
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		parts = parts[:1+r.IntN(len(parts))]
		for _, p := range parts {
			i := slices.Index(n.parts, p)
			if _, err := p.Append(rec{pid: pid, sequence: sequences[i], txn: true}.batch(t)); err != nil {
				return err
			}
			sequences[i]++
		}
		a, err := n.store.AppendMarkers(parts, Marker{ProducerID: pid, Commit: r.IntN(2) == 0}, nil)
		if err == nil {
			err = a.Wait(t.Context())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// What markers say about epochs, and what follows a marker, as in Kafka's ProducerAppendInfo.
func TestEpochsAroundMarkers(t *testing.T) {
	fs, c := vfs.NewMem(), &clock{ms: 1_000_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c})
	p := n.parts[0]
	refused := func(want SequenceKind, err error) {
		t.Helper()
		require.Equal(t, want, kindOf(err), "%v", err)
	}
	try := func(r rec) error {
		a, err := p.Append(r.batch(t))
		if err == nil {
			require.NoError(t, a.Wait(t.Context()))
		}
		return err
	}
	mark := func(m Marker) error {
		a, err := n.store.AppendMarkers([]*Partition{p}, m, nil)
		if err != nil {
			return err
		}
		require.NoError(t, a.Wait(t.Context()))
		for _, refused := range a.Refused {
			return refused
		}
		return nil
	}
	require.NoError(t, try(rec{pid: 7, epoch: 4, txn: true, n: 3}))
	refused(InTransaction, try(rec{pid: 7, epoch: 4, sequence: 3}))
	refused(InTransaction, try(rec{pid: 7, epoch: 5}))
	refused(StaleEpoch, mark(Marker{ProducerID: 7, ProducerEpoch: 3}))
	refused(StaleEpoch, mark(Marker{ProducerID: 7, ProducerEpoch: 4, Bumped: true}))
	require.NoError(t, mark(Marker{ProducerID: 7, ProducerEpoch: 4, CoordinatorEpoch: 2, Commit: true}))
	require.Equal(t, []ProducerState{{ProducerID: 7, Epoch: 4, LastSequence: 2, LastOffset: 2, AppendTimeMs: c.ms, TxnFirstOffset: -1, CoordinatorEpoch: 2}}, p.ProducerStates())
	refused(StaleCoordinator, mark(Marker{ProducerID: 7, ProducerEpoch: 4, CoordinatorEpoch: 1, Foreign: true}))

	// The same epoch goes on with its sequence; the duplicates are still known.
	a, err := p.Append(rec{pid: 7, epoch: 4, txn: true, n: 3}.batch(t))
	require.NoError(t, err)
	require.True(t, a.Duplicate)
	require.Empty(t, p.OpenTxns(), "a duplicate opens nothing")
	require.NoError(t, try(rec{pid: 7, epoch: 4, sequence: 3, txn: true}))
	require.Len(t, p.OpenTxns(), 1)

	// A marker with the next epoch ends the window: the sequence begins at 0, and the old epoch is fenced.
	require.NoError(t, mark(Marker{ProducerID: 7, ProducerEpoch: 5, CoordinatorEpoch: 2, Bumped: true}))
	require.Equal(t, []ProducerState{{ProducerID: 7, Epoch: 5, LastSequence: -1, LastOffset: -1, AppendTimeMs: c.ms, TxnFirstOffset: -1, CoordinatorEpoch: 2}}, p.ProducerStates())
	n.close()
	n = openNode(t, nodeConfig{fs: fs, clock: c})
	p = n.parts[0]
	refused(StaleEpoch, try(rec{pid: 7, epoch: 4, sequence: 4, txn: true}))
	refused(OutOfOrder, try(rec{pid: 7, epoch: 5, sequence: 4, txn: true}))
	refused(OutOfOrder, try(rec{pid: 7, epoch: 6, sequence: 1, txn: true}))
	require.NoError(t, try(rec{pid: 7, epoch: 5, txn: true}))

	// A producer that only a marker made known.
	require.NoError(t, mark(Marker{ProducerID: 8, ProducerEpoch: 1}))
	refused(OutOfOrder, try(rec{pid: 8, epoch: 1, sequence: 5}))
	require.NoError(t, try(rec{pid: 8, epoch: 1}))

	// A producer in a transaction does not expire; its marker lets it.
	c.ms += (24 * time.Hour).Milliseconds()
	require.NoError(t, try(rec{}))
	states := p.ProducerStates()
	require.Len(t, states, 1)
	require.Equal(t, int64(7), states[0].ProducerID)
	require.NoError(t, mark(Marker{ProducerID: 7, ProducerEpoch: 6, CoordinatorEpoch: 2}))
	require.Len(t, p.ProducerStates(), 1)
	c.ms += (24 * time.Hour).Milliseconds()
	require.Empty(t, p.ProducerStates())
	require.NoError(t, mark(Marker{ProducerID: 7}), "nothing is known of it any more")
	n.close()
}

func TestProducersInTransactionsAreNotEvicted(t *testing.T) {
	c := &clock{ms: 5}
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), clock: c, log: Config{MaxProducers: 16}})
	defer n.close()
	p := n.parts[0]
	for pid := range int64(20) {
		appendWait(t, p, rec{pid: 1000 + pid, txn: true})
	}
	for pid := range int64(100) {
		c.ms++
		appendWait(t, p, rec{pid: pid + 1})
	}
	require.Len(t, p.OpenTxns(), 20)
	require.Equal(t, StaleEpoch, func() SequenceKind {
		_, err := n.store.AppendMarkers([]*Partition{p}, Marker{ProducerID: 1000, ProducerEpoch: -1}, nil)
		return kindOf(err)
	}())
}

// Retention stops at the last stable offset; DeleteRecords does not, and takes the last stable offset with it.
func TestTrimAtOpenTransactions(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, nodeConfig{fs: fs})
	p := n.parts[0]
	for range 4 {
		appendWait(t, p, rec{})
	}
	appendWait(t, p, rec{n: 2, pid: 7, txn: true}) // 4, 5
	appendWait(t, p, rec{n: 3})                    // 6 to 8
	var outside *OffsetRangeError
	require.ErrorAs(t, p.TrimTo(t.Context(), 5), &outside)
	require.NoError(t, p.TrimTo(t.Context(), 4))
	require.NoError(t, p.SetLogStart(t.Context(), 7))
	want := Bounds{LogStart: 7, DeltaStart: 7, LastStable: 7, HighWatermark: 9, Synced: 9, LogEnd: 9}
	require.Equal(t, want, p.Bounds())
	n.close()
	n = openNode(t, nodeConfig{fs: fs})
	defer n.close()
	p = n.parts[0]
	require.Equal(t, want, p.Bounds())
	require.Len(t, p.OpenTxns(), 1)
	endTxn(t, n.store, Marker{ProducerID: 7}, p)
	require.Equal(t, int64(10), p.Bounds().LastStable)
	list, err := p.Aborted(7, 10)
	require.NoError(t, err)
	require.Equal(t, []AbortedTxn{{ProducerID: 7, FirstOffset: 4, LastOffset: 9}}, list)
}

// Somebody who writes without transactions, in the name of a transactional producer and with an epoch that it never had, does not keep
// the transaction from ending in the other partitions.
func TestMarkersPassAnOvertakenPartition(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), clock: &clock{ms: 5}, partitions: 2})
	defer n.close()
	appendWait(t, n.parts[0], rec{pid: 7, epoch: 3, txn: true})
	appendWait(t, n.parts[1], rec{pid: 7, epoch: 30_000})
	endTxn(t, n.store, Marker{ProducerID: 7, ProducerEpoch: 4, Commit: true, Bumped: true}, n.parts...)
	require.Equal(t, int64(2), n.parts[0].Bounds().LastStable)
	require.Empty(t, n.parts[0].OpenTxns())
	require.Equal(t, int64(1), n.parts[1].Bounds().LogEnd, "nothing of the transaction is there")
	require.Equal(t, int16(30_000), n.parts[1].ProducerStates()[0].Epoch)
}

// Whatever epochs a foreign marker has left in a partition, the coordinator's own end of the transaction is not refused, and would hang for
// ever if it were. A foreign marker is told.
func TestForeignMarkersHoldNoEndUp(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), clock: &clock{ms: 1_000_000}})
	p := n.parts[0]
	mark := func(m Marker) error {
		t.Helper()
		a, err := n.store.AppendMarkers([]*Partition{p}, m, nil)
		if err != nil {
			return err
		}
		require.NoError(t, a.Wait(t.Context()))
		for _, refused := range a.Refused {
			return refused
		}
		return nil
	}
	for i, foreign := range []Marker{{ProducerEpoch: 4, CoordinatorEpoch: 1 << 30}, {ProducerEpoch: 5}, {ProducerEpoch: 9}} {
		foreign.ProducerID, foreign.Foreign = int64(7+i), true
		a, err := p.Append(rec{pid: foreign.ProducerID, epoch: 4, txn: true}.batch(t))
		require.NoError(t, err)
		require.NoError(t, a.Wait(t.Context()))
		require.NoError(t, mark(foreign))
		require.Empty(t, p.OpenTxns())
		require.NoError(t, mark(Marker{ProducerID: foreign.ProducerID, ProducerEpoch: 5, CoordinatorEpoch: 3, Commit: true, Bumped: true}), "marker %d", i)
		require.Equal(t, p.Bounds().HighWatermark, p.Bounds().LastStable)
		aborted, err := p.Aborted(0, p.Bounds().LogEnd)
		require.NoError(t, err)
		require.Len(t, aborted, i+1, "what was aborted stays so")
		late := foreign
		late.ProducerEpoch = 3
		require.Equal(t, StaleEpoch, kindOf(mark(late)))
	}
	n.close()
}

// A foreign marker is refused by each partition alone, and written to the others, all at once: else one that many partitions refuse would be tried
// as many times.
func TestForeignMarkersAreRefusedOneByOne(t *testing.T) {
	n := openNode(t, nodeConfig{partitions: 4})
	defer n.close()
	endTxn(t, n.store, Marker{ProducerID: 7, ProducerEpoch: 5}, n.parts[1], n.parts[3])
	before := n.store.Metrics()
	a, err := n.store.AppendMarkers(n.parts, Marker{ProducerID: 7, ProducerEpoch: 4, Foreign: true}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	var ids []PartitionID
	for _, refused := range a.Refused {
		require.Equal(t, StaleEpoch, refused.Kind)
		ids = append(ids, refused.Partition)
	}
	require.Equal(t, []PartitionID{n.parts[1].ID(), n.parts[3].ID()}, ids)
	for _, p := range n.parts {
		require.Equal(t, int64(1), p.Bounds().LastStable)
	}
	after := n.store.Metrics()
	require.Equal(t, []uint64{2, 2}, []uint64{after.Appends - before.Appends, after.SequenceErrors - before.SequenceErrors})
	require.Zero(t, after.InFlightBytes)
}
