package keyframer_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
)

// What is not committed is not read, and waits for its marker; what is aborted never is, wherever its marker lies.
func TestFoldsCommittedRecordsOnly(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", "1"))
	l.AppendIn(7, memlog.Put("a", "7"), memlog.Put("b", "7"))
	l.AppendIn(8, memlog.Put("a", "8"))
	l.Append(memlog.Put("c", "1"))
	n.applied()
	require.EqualValues(t, 1, n.partition(0).Position())
	require.Equal(t, "1", value(n, "a"))
	_, ok := n.get(0, "c")
	require.False(t, ok, "it lies behind an open transaction")

	n.clock.advance(3 * time.Second)
	c := n.cut()
	require.False(t, c.Consistent, "an open transaction holds the cut back")
	require.EqualValues(t, 1, c.Frames[0].Cut)
	require.NoError(t, testutil.GatherAndCompare(n.registry, strings.NewReader(`
		# HELP keyframe_keyframer_held_back_seconds Age of the transaction that holds back folding and cuts, in partitions where one does.
		# TYPE keyframe_keyframer_held_back_seconds gauge
		keyframe_keyframer_held_back_seconds{partition="0",producer_id="7",topic="files"} 3
	`), "keyframe_keyframer_held_back_seconds"))

	l.End(7, false) // 5: aborted; 8 is still open
	n.applied()
	require.EqualValues(t, 3, n.partition(0).Position())
	l.End(8, true) // 6
	n.applied()
	require.Equal(t, []string{"8", "1"}, []string{value(n, "a"), value(n, "c")})
	_, ok = n.get(0, "b")
	require.False(t, ok)
	require.Zero(t, n.metric("keyframe_keyframer_held_back_seconds"))
	c = n.cut()
	require.True(t, c.Consistent)
	require.EqualValues(t, 7, c.Frames[0].Cut)
}

// A restart in the middle of a transaction that was cut through goes on as if there had been none.
func TestRestartInsideATransaction(t *testing.T) {
	for _, commit := range []bool{true, false} {
		n := newNode(t, keyframer.Config{})
		l := n.add(fold.Counter, calm(), 1)[0]
		l.AppendIn(7, memlog.Put("a", "1"))
		l.AppendIn(8, memlog.Put("a", "100"))
		l.AppendIn(7, memlog.Put("a", "1"))
		l.End(8, false) // 3; 7 is open, so nothing is folded
		l.AppendIn(9, memlog.Put("a", "10"))
		l.End(7, commit) // 5; 9 holds from 4 on
		n.cut()
		require.Equal(t, []int64{4}, cuts(n.table(0)))
		l.AppendIn(9, memlog.Put("a", "10")) // 6
		n.restart()
		require.NoError(t, n.k.Add(spec(fold.Counter, l), calm()))
		l.End(9, true) // 7
		n.applied()
		want := "20"
		if commit {
			want = "22"
		}
		require.Equal(t, want, value(n, "a"))
		live, err := n.partition(0).Live()
		require.NoError(t, err)
		past, err := live.At(context.Background(), 5, l) // inside 9's transaction, which ends above
		require.NoError(t, err)
		row, ok, err := past.Get([]byte("a"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, map[bool]string{true: "12", false: "10"}[commit], string(row.Value))
		require.NoError(t, past.Close())
	}
}

// A log that has lost a marker has lost what was read of the transaction, although the records are there.
func TestTableAheadOfALostMarker(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("kept", "v"))
	l.AppendIn(7, memlog.Put("a", "7"))
	l.Append(memlog.Put("b", "v"))
	l.End(7, true) // 3
	n.cut()
	l.Truncate(3)
	s := spec(fold.LastValue, l)
	s.Partitions[0].RenewIncarnation = func(context.Context) ([16]byte, error) { return [16]byte{9}, nil }
	n.restart()
	require.NoError(t, n.k.Add(s, calm()))
	require.Equal(t, [16]byte{9}, n.partition(0).Incarnation)
	n.applied()
	require.EqualValues(t, 1, n.partition(0).Position())
	l.End(7, false) // the coordinator has lost it as well
	n.applied()
	_, ok := n.get(0, "a")
	require.False(t, ok)
	require.Equal(t, "v", value(n, "b"))
}

// A cut that is due inside a transaction falls behind its end.
func TestCutsAvoidTransactions(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 4
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	l.AppendIn(7, memlog.Put("a", "2"), memlog.Put("b", "2")) // ends at 4: due
	l.AppendIn(7, memlog.Put("c", "2"))
	l.End(7, true) // 5
	n.eventually("a cut", func() bool { return len(cuts(n.table(0))) > 0 })
	require.Equal(t, []int64{6}, cuts(n.table(0)))
}

func value(n *node, key string) string {
	v, ok := n.get(0, key)
	require.True(n.t, ok, key)
	return v
}
