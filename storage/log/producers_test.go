package log

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

func kindOf(err error) SequenceKind {
	var seq *SequenceError
	if errors.As(err, &seq) {
		return seq.Kind
	}
	return 0
}

func TestSequences(t *testing.T) {
	fs := vfs.NewMem()
	c := &clock{ms: 1_000_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c})
	try := func(r rec) (*Appended, SequenceKind) {
		a, err := n.parts[0].Append(r.batch(t))
		if err != nil {
			require.NotZero(t, kindOf(err), "%v", err)
			return nil, kindOf(err)
		}
		require.NoError(t, a.Wait(t.Context()))
		return a, 0
	}
	good := func(r rec, base int64) {
		t.Helper()
		a, kind := try(r)
		require.Zero(t, kind)
		require.Equal(t, []any{base, false}, []any{a.BaseOffset, a.Duplicate})
	}
	bad := func(r rec, want SequenceKind) {
		t.Helper()
		_, kind := try(r)
		require.Equal(t, want, kind)
	}
	dup := func(r rec, base int64) {
		t.Helper()
		a, kind := try(r)
		require.Zero(t, kind)
		require.Equal(t, []any{base, base + int64(max(1, r.n)) - 1, true}, []any{a.BaseOffset, a.LastOffset, a.Duplicate})
	}
	good(rec{pid: 7, sequence: 40, n: 2}, 0) // an unknown producer may start anywhere
	bad(rec{pid: 7, sequence: 43}, OutOfOrder)
	bad(rec{pid: 7, sequence: 39}, OutOfOrder) // before a window that is not full: nobody knows
	bad(rec{pid: 7, sequence: 40}, OutOfOrder) // the same first sequence, another length
	good(rec{pid: 7, sequence: 42}, 2)         // the in-order retry works
	for i := int32(43); i < 47; i++ {
		good(rec{pid: 7, sequence: i}, int64(i-40))
	}
	bad(rec{pid: 7, sequence: 40, n: 2}, DuplicateTooOld)
	for i := int32(42); i < 47; i++ {
		dup(rec{pid: 7, sequence: i}, int64(i-40))
	}
	require.NoError(t, n.store.Close())
	require.NoError(t, n.dir.Close())

	n = openNode(t, nodeConfig{fs: fs, clock: c}) // survives a restart
	dup(rec{pid: 7, sequence: 42}, 2)
	bad(rec{pid: 7, sequence: 48}, OutOfOrder)
	good(rec{pid: 7, sequence: 47}, 7)
	bad(rec{pid: 7, epoch: 1, sequence: 48}, OutOfOrder) // a new epoch starts at 0
	good(rec{pid: 7, epoch: 1}, 8)
	bad(rec{pid: 7, epoch: 0, sequence: 48}, StaleEpoch)
	bad(rec{pid: 7, epoch: 0, sequence: 47}, StaleEpoch)
	good(rec{pid: 9, sequence: math.MaxInt32 - 1, n: 3}, 9) // wraps: 2^31-2, 2^31-1, 0
	good(rec{pid: 9, sequence: 1}, 12)
	dup(rec{pid: 9, sequence: math.MaxInt32 - 1, n: 3}, 9)

	_, err := n.parts[0].AppendOn(Terms{FromZero: true}, rec{pid: 11, sequence: 1}.batch(t)) // or has to start at 0
	require.Equal(t, OutOfOrder, kindOf(err))
	again, err := n.parts[0].AppendOn(Terms{FromZero: true}, rec{pid: 9, sequence: 1}.batch(t)) // which is not for a known one
	require.NoError(t, err)
	require.True(t, again.Duplicate)

	states := n.parts[0].ProducerStates()
	require.Len(t, states, 2)
	require.Equal(t, ProducerState{ProducerID: 9, LastSequence: 1, LastOffset: 12, AppendTimeMs: c.ms, TxnFirstOffset: -1, CoordinatorEpoch: -1}, states[1])

	c.ms += (24 * time.Hour).Milliseconds() // expired: may start anywhere again
	require.Empty(t, n.parts[0].ProducerStates())
	good(rec{pid: 9, sequence: 500}, 13)
	require.Len(t, n.parts[0].ProducerStates(), 1)
	n.close()
	n = openNode(t, nodeConfig{fs: fs, clock: c})
	require.Len(t, n.parts[0].producers.byID, 1)
	require.Empty(t, n.parts[0].producers.expired) // was deleted on disk by the append
	n.close()
}

func TestDuplicateWaitsForTheOriginal(t *testing.T) {
	n, p, gate := openGated(t)
	defer n.close()
	gate.shut()
	a, err := p.Append(rec{pid: 1}.batch(t))
	require.NoError(t, err)
	again, err := p.Append(rec{pid: 1}.batch(t))
	require.NoError(t, err)
	require.True(t, again.Duplicate)
	select {
	case <-again.Done():
		t.Fatal("acknowledged before the original was durable")
	default:
	}
	gate.open()
	require.NoError(t, again.Wait(t.Context()))
	require.NoError(t, a.Err())
	require.Equal(t, int64(1), p.Bounds().LogEnd)
}

func TestProducersAreBounded(t *testing.T) {
	c := &clock{ms: 5}
	fs := vfs.NewMem()
	n := openNode(t, nodeConfig{fs: fs, clock: c, log: Config{MaxProducers: 32}})
	for pid := range int64(200) {
		c.ms++
		appendWait(t, n.parts[0], rec{pid: pid + 1})
		require.LessOrEqual(t, len(n.parts[0].producers.byID), 32)
	}
	appendWait(t, n.parts[0], rec{pid: 1, sequence: 9}) // forgotten, so it may start anywhere
	n.close()
	n = openNode(t, nodeConfig{fs: fs, clock: c})
	defer n.close()
	require.LessOrEqual(t, len(n.parts[0].producers.byID), 32+3) // the last evicted ones go with the next append
	require.Equal(t, int32(9), n.parts[0].ProducerStates()[0].LastSequence)
}

// Producers in transactions may be more than a partition remembers. Looking for others that can be forgotten is done once for several that
// come, not for each.
func TestProducersBeyondTheBound(t *testing.T) {
	ps := newProducers(time.Hour, 64)
	for id := range int64(200) {
		ps.set(id, keys.Producer{TxnFirstOffset: 1, LastMs: id})
	}
	require.Len(t, ps.byID, 200)
	looks := 0
	for id := range int64(1000) {
		before := len(ps.byID)
		ps.set(1000+id, keys.Producer{TxnFirstOffset: -1, LastMs: 1000 + id})
		require.LessOrEqual(t, len(ps.byID), 200+2*64/16)
		if len(ps.byID) <= before {
			looks++
		}
	}
	require.Positive(t, looks)
	require.LessOrEqual(t, looks, 1000/4)
	for id := range int64(200) {
		ps.set(id, keys.Producer{TxnFirstOffset: -1, LastMs: id})
	}
	for id := range int64(100) {
		ps.set(5000+id, keys.Producer{TxnFirstOffset: -1, LastMs: 5000 + id})
	}
	require.LessOrEqual(t, len(ps.byID), 64, "as they end they can be forgotten")
}
