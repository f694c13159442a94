package keyframer_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// named is a node whose two partitions were cut under names, with writes to one of them or to both in between.
func named(t *testing.T, config keyframer.Config) (n *node, logs []*memlog.Log, offsets map[string][]int64) {
	n = newNode(t, config)
	logs = n.add(fold.LastValue, calm(), 2)
	offsets = map[string][]int64{}
	for round := range 5 {
		for i := range 20 {
			logs[0].Append(memlog.Put(fmt.Sprint("k", i), fmt.Sprintf("v%06d", round*100+i)))
		}
		if round%2 == 0 {
			logs[1].Append(memlog.Put("z", fmt.Sprint(round)))
		}
		if round == 3 {
			require.NoError(t, logs[0].HideBelow(t.Context(), 7)) // takes effect at the cut
		}
		n.clock.advance(time.Second)
		c := n.cut()
		if round != 2 {
			c = n.keep()
		}
		topic, _ := n.k.Topic(topicName)
		var err error
		offsets[c.Name], err = topic.Resolve(c.Name)
		require.NoError(t, err)
		n.clock.advance(time.Second)
	}
	return n, logs, offsets
}

// lostHook calls told where frames are lost.
type lostHook struct {
	*holds
	told func()
}

func (h *lostHook) Lost(topicID [16]byte, partition int32) error {
	h.told()
	return h.holds.Lost(topicID, partition)
}

func (n *node) keep() keyframer.Cut {
	c, err := n.k.CutToKeep(n.t.Context(), topicName)
	require.NoError(n.t, err)
	return c
}

// resolve wants every name to stand for what it stood for.
func (n *node) resolve(offsets map[string][]int64) {
	n.t.Helper()
	topic, ok := n.k.Topic(topicName)
	require.True(n.t, ok)
	for name, want := range offsets {
		got, err := topic.Resolve(name)
		require.NoError(n.t, err)
		require.Equal(n.t, want, got)
	}
}

// again waits until nothing of a partition's table is due.
func (n *node) again(p *keyframer.Partition) {
	n.t.Helper()
	n.eventually("cut again", func() bool {
		t, err := n.partition(0).Table()
		return n.partition(0) != p && err == nil && t.Position() > 0 && len(t.Due()) == 0
	})
}

// A damaged table that is folded again has the frames that it had, of the same times, and the names of its cuts are good all the while.
func TestNamesOutliveADamagedTable(t *testing.T) {
	for _, crash := range []bool{false, true} {
		t.Run(fmt.Sprint("crash ", crash), func(t *testing.T) {
			h := &lostHook{holds: newHolds()}
			n, logs, offsets := named(t, keyframer.Config{Holds: h})
			h.told = func() { n.noTables.Store(crash) }
			before := n.table(0).Frames()
			require.Len(t, before, 5)
			require.EqualValues(t, 7, before[3].Start)
			settings := calm()
			settings.IntervalRecords = 3 // more frames would come, were none due
			settings.Retain = 5
			damage(t, n, []byte("v000405"))
			p := n.partition(0)
			_, err := readAt(t, p, before[4].Cut)
			require.ErrorIs(t, err, keyframer.ErrDamaged)
			if crash {
				n.eventually("opened again", func() bool { now, err := n.k.Partition(topicName, 0); return err == nil && now != p })
				n.resolve(offsets)
				n.stop()
				n.noTables.Store(false)
				n.start()
				require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), settings))
			} else {
				n.settle(settings)
			}
			n.again(p)
			n.resolve(offsets)
			require.Equal(t, before, n.table(0).Frames(), "digests and marks too")
			_, err = n.table(0).Verify(t.Context(), before[4].Cut)
			require.NoError(t, err)

			logs[0].Append(memlog.Put("k", "v"))
			c := n.cut()
			require.Greater(t, c.TimeMs, before[4].CutTimeMs)
			n.resolve(offsets)
		})
	}
}

// A table whose meta cannot be read is folded again, and nobody knows which frames it had: that is said.
func TestNamesThatAreLostAreToldOf(t *testing.T) {
	n, logs, offsets := named(t, keyframer.Config{})
	n.stop()
	n.start()
	require.NoError(t, n.pdb.Set(keys.AppendTablePrefix(nil, keys.TableMeta, 1), []byte{4, 4, 4}, pebble.NoSync))
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), calm()))
	n.applied()
	require.Contains(t, n.logged.String(), "the names of cuts that were taken before are not good any more")
	topic, _ := n.k.Topic(topicName)
	for name := range offsets {
		_, err := topic.Resolve(name)
		require.ErrorIs(t, err, keyframer.ErrUnknownCut)
	}
}

// What counters were folded onto is not known any more once rows have expired: the names of cuts go, which is said. Until then they are good.
func TestNamesOfCutsOfCounters(t *testing.T) {
	for _, expired := range []bool{false, true} {
		n := newNode(t, keyframer.Config{})
		l := n.add(fold.Counter, calm(), 1)[0]
		l.Append(memlog.Put("gone", "1"))
		var names []string
		for i := range 3 {
			l.Append(memlog.Put("a", "1"))
			if expired && i == 1 {
				require.NoError(t, l.HideBelow(t.Context(), 1))
			}
			names = append(names, n.cut().Name)
		}
		p, before := n.partition(0), cuts(n.table(0))
		require.ErrorIs(t, p.Damaged(table.ErrCorrupt), keyframer.ErrDamaged)
		n.foldedAgain(p)
		n.eventually("cut again", func() bool { at := cuts(n.table(0)); return len(at) > 0 && at[len(at)-1] == before[len(before)-1] })
		topic, _ := n.k.Topic(topicName)
		_, err := topic.Resolve(names[0])
		require.Equal(t, expired, errors.Is(err, keyframer.ErrUnknownCut), err)
		require.Equal(t, expired, strings.Contains(n.logged.String(), "the names of cuts are not good any more"))
		if !expired {
			require.Equal(t, before, cuts(n.table(0)))
		}
	}
}
