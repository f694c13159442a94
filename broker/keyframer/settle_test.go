package keyframer_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
)

// What many updates have superseded is not in the way of who reads the newest frame, while an older one still shows it.
func TestSettlesWhatIsSuperseded(t *testing.T) {
	const rows = 5000
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for round := range 3 {
		for i := range rows {
			l.Append(memlog.Put(fmt.Sprint("k", i), fmt.Sprint(round)))
		}
		n.cut()
	}
	first := cuts(n.table(0))[0]
	n.eventually("settled", func() bool { return !n.table(0).SettleDue() && n.inTheWay(1) < 2*rows })
	_, err := n.table(0).Verify(context.Background(), first)
	require.NoError(t, err)
	v, err := n.table(0).View(first)
	require.NoError(t, err)
	defer v.Close()
	row, ok, err := v.Get([]byte("k7"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "0", string(row.Value))
}

// A damaged block of one partition keeps no other from being settled, and nobody says that the other is damaged.
func TestSettlesBesideDamage(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	for i := range logs {
		n.overwrite(logs, i)
	}
	n.damageStopped(logs, "of 0: 004999")
	was := n.partition(1)
	for range 3 {
		n.overwrite(logs, 1)
	}
	n.eventually("settled", func() bool { return !n.table(1).SettleDue() && n.inTheWay(2) < 2*overwritten })
	require.NotContains(t, n.logged.String(), "ERROR")
	require.Zero(t, n.metric("keyframe_scrub_corrupt_total"))
	require.Same(t, was, n.partition(1))
}

// Damage that is met where rows are taken out of the way is dealt with as any other, though no frame from now on shows them: the log has it all.
func TestDamageThatSettlingMeetsIsMended(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	for i := range logs {
		n.overwrite(logs, i)
	}
	n.damageStopped(logs, "of 0: 000003")
	was, sound := n.table(0), n.table(1)
	n.overwrite(logs, 0)
	n.eventually("folded again", func() bool {
		t, err := n.partition(0).Table()
		return err == nil && t != was && slices.Contains(cuts(t), 2*overwritten)
	})
	_, err := n.table(0).Verify(t.Context(), 2*overwritten)
	require.NoError(t, err)
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))
	require.Zero(t, n.metric("keyframe_rows_damaged"))
	require.NotContains(t, n.logged.String(), "is tried again")
	require.Same(t, sound, n.table(1))
}

// A settling that fails is tried again on an idle topic too, in ever longer intervals, by another process as well; and in between there is nothing to do.
func TestSettlesAgain(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 1)
	n.overwrite(logs, 0)
	for k := range overwritten {
		logs[0].Append(memlog.Put(fmt.Sprint("k", k), "another"))
	}
	tab, written := n.table(0), 0
	full := func() bool { // from the second sstable on that is written behind the fold
		if tab.Position() == 2*overwritten {
			written++
		}
		return written > 1
	}
	n.noTable.Store(&full)
	n.cut()
	failed := func(times int) {
		n.t.Helper()
		n.eventually("failed", func() bool { return strings.Count(n.logged.String(), "could not be settled") == times })
	}
	failed(1)
	n.clock.advance(5 * time.Second)
	n.settle(calm())
	failed(2)
	n.clock.advance(5 * time.Second)
	n.settle(calm()) // too early
	n.clock.advance(5 * time.Second)
	n.settle(calm())
	failed(3)
	require.True(t, n.table(0).SettleDue())
	n.stop()
	n.noTable.Store(nil)
	n.start()
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), calm()))
	n.eventually("settled", func() bool { return !n.table(0).SettleDue() })
	require.Less(t, n.inTheWay(1), 2*overwritten)
}

// A topic of which all was deleted takes no space once its tombstones have expired.
func TestSettlesWhatExpired(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 1)
	n.overwrite(logs, 0)
	for k := range overwritten {
		logs[0].Append(memlog.Delete(fmt.Sprint("k", k)))
	}
	n.cut()
	logs[0].Append(memlog.Put("last", ""))
	n.cut()
	require.GreaterOrEqual(t, n.inTheWay(1), overwritten)
	s := calm()
	s.DeltaRetentionMs, s.DeleteRetentionMs = 0, 0
	n.eventually("expired and settled", func() bool {
		n.clock.advance(time.Second)
		n.settle(s)
		return n.inTheWay(1) == 1
	})
}

const overwritten = 5000

// overwrite appends a row of each of so many keys to a log, and cuts.
func (n *node) overwrite(logs []*memlog.Log, i int) {
	for k := range overwritten {
		logs[i].Append(memlog.Put(fmt.Sprint("k", k), fmt.Sprintf("of %d: %06d, folded when there were %d, %0100d", i, k, logs[i].Bounds().LastStable, 0)))
	}
	n.cut()
}

// damageStopped stops the node, flips a bit of a value, and starts it again.
func (n *node) damageStopped(logs []*memlog.Log, value string) {
	n.stop()
	n.flip([]byte(value))
	n.start()
	require.NoError(n.t, n.k.Add(spec(fold.LastValue, logs...), calm()))
}

// inTheWay is how many rows a reader of the newest frame passes by or shows.
func (n *node) inTheWay(ordinal uint32) (rows int) {
	lower, upper := keys.TableSpan(keys.TableRows, ordinal)
	it, err := n.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	require.NoError(n.t, err)
	for ok := it.First(); ok; ok = it.Next() {
		rows++
	}
	require.NoError(n.t, it.Close())
	return rows
}
