package keyframer_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

func TestCutsOnRecords(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 4
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 3 {
		l.Append(memlog.Put("a", fmt.Sprint(i)), memlog.Put(fmt.Sprint("k", i), "v"))
	}
	n.eventually("a frame of two batches", func() bool { return len(cuts(n.table(0))) == 1 })
	n.applied()
	require.Equal(t, []int64{4}, cuts(n.table(0)), "on a batch boundary, and not before the limit")
	require.EqualValues(t, 3, n.table(0).Digest().Count)
	v, ok := n.get(0, "a")
	require.True(t, ok)
	require.Equal(t, "2", v, "reads go through the open interval")
}

func TestCutsOnBytes(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalBytes = 1000
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", strings.Repeat("x", 600)))
	n.applied()
	require.Empty(t, cuts(n.table(0)))
	l.Append(memlog.Put("b", strings.Repeat("x", 600)))
	n.eventually("a frame", func() bool { return len(cuts(n.table(0))) == 1 })
}

func TestCutsOnTimeOnlyIfSomethingChanged(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalMs = 60_000
	l := n.add(fold.LastValue, s, 1)[0]
	n.clock.advance(time.Hour)
	n.settle(s)
	l.Append(memlog.Put("a", "1"))
	n.applied()
	n.clock.advance(59 * time.Second)
	n.settle(s)
	require.Empty(t, cuts(n.table(0)))
	n.clock.advance(time.Second)
	n.settle(s)
	n.eventually("a frame", func() bool { return len(cuts(n.table(0))) == 1 })
	n.clock.advance(time.Hour)
	n.settle(s)
	n.cut()
	require.Equal(t, []int64{1}, cuts(n.table(0)), "nothing has changed")
}

// With the process's clock, no event but time is needed.
func TestClockWakes(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	n.clock.ms.Store(time.Now().UnixMilli())
	s := calm()
	s.IntervalMs = 1
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", "1"))
	n.applied()
	n.clock.advance(time.Second)
	n.eventually("a frame", func() bool { return len(cuts(n.table(0))) == 1 })
}

// A restart goes on from the table's position, and what was not folded is read from the log again.
func TestRestart(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.Counter, calm(), 1)[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	n.cut()
	l.Append(memlog.Put("a", "5"))
	n.applied()
	n.restart()
	require.Zero(t, l.Watchers(), "nobody watches after Close")
	require.NoError(t, n.k.Add(spec(fold.Counter, l), calm()))
	n.applied()
	v, _ := n.get(0, "a")
	require.Equal(t, "6", v)
	require.EqualValues(t, 2, n.table(0).Position())
	require.Equal(t, []int64{2}, cuts(n.table(0)))
	n.cut()
	v, _ = n.get(0, "a")
	require.Equal(t, "6", v, "not counted twice")
}

// What was folded without a cut before a restart counts in its interval.
func TestRestartWithinAnInterval(t *testing.T) {
	n := newNode(t, keyframer.Config{MemoryBytes: 1 << 10})
	s := calm()
	s.IntervalBytes = 2000
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", strings.Repeat("x", 1500)))
	n.eventually("a fold for memory", func() bool { return n.table(0).Position() == 1 })
	require.Empty(t, cuts(n.table(0)))
	n.restart()
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), s))
	l.Append(memlog.Put("b", strings.Repeat("x", 600)))
	n.eventually("a frame", func() bool { return len(cuts(n.table(0))) == 1 })
	require.Equal(t, []int64{2}, cuts(n.table(0)))
}

func TestBoundedMemory(t *testing.T) {
	const limit = 256 << 10
	n := newNode(t, keyframer.Config{MemoryBytes: limit})
	logs := n.add(fold.LastValue, calm(), 4)
	value := strings.Repeat("x", 1000)
	for i := range 500 {
		for p, l := range logs {
			l.Append(memlog.Put(fmt.Sprintf("%d-%d", p, i), value))
		}
	}
	n.applied()
	require.Less(t, n.metric("keyframe_keyframer_memory_bytes"), float64(limit+64<<10))
	n.cut()
	for p := range logs {
		require.EqualValues(t, 500, n.table(int32(p)).Digest().Count)
		require.Len(t, cuts(n.table(int32(p))), 1, "folds for memory cut no frames")
	}
	require.Greater(t, n.metric("keyframe_folds_total"), float64(4))
}

// What later deltas replaced is given back without a fold, also by a partition that memory keeps from being applied further.
func TestMemoryOfReplacedDeltas(t *testing.T) {
	const keys, limit = 50, 1 << 20
	n := newNode(t, keyframer.Config{MemoryBytes: limit})
	logs := n.add(fold.LastValue, calm(), 4)
	for i := range 40 * keys {
		for _, l := range logs {
			l.Append(memlog.Put(fmt.Sprint(i%keys), fmt.Sprintf("%01000d", i)))
		}
		if i%keys == keys-1 {
			n.applied() // what is read ahead of it is held as it is
		}
	}
	require.Less(t, n.metric("keyframe_keyframer_memory_bytes"), float64(limit), "8 MB were applied")
	require.Zero(t, n.metric("keyframe_folds_total"))
	v, _ := n.get(3, "7")
	require.Equal(t, fmt.Sprintf("%01000d", 39*keys+7), v)
}

// fillTwice gives a partition more than half of 1 MiB, whose fold does not end before goOn is called, and then a next interval.
func fillTwice(n *node, l *memlog.Log) (goOn func()) {
	goOn = n.holdUp()
	for i := range 700 {
		l.Append(memlog.Put(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	n.applied()
	return goOn
}

// A partition that fails while its fold is under way lets go of its intervals when that ends. It takes part in the budget until then, and
// not any more afterwards, or it would be asked for ever.
func TestFailedPartitionHoldsNoMemory(t *testing.T) {
	n := newNode(t, keyframer.Config{MemoryBytes: 1 << 20, Workers: 1})
	logs := n.add(fold.LastValue, calm(), 2)
	goOn := fillTwice(n, logs[0])
	held := n.metric("keyframe_keyframer_memory_bytes")
	require.Greater(t, held, float64(700_000))
	intervals, err := n.partition(0).Live()
	require.NoError(t, err)
	kept := weak.Make(intervals)
	logs[0].Fail(errors.New("damaged"))
	logs[0].Append(memlog.Put("a", "1"))
	n.eventually("the failure", func() bool { return n.partition(0).Failure() != nil })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range int64(2) { // between the two, the only worker came by partition 0
		logs[1].Append(memlog.Put("a", "1"))
		require.NoError(t, n.partition(1).WaitApplied(ctx, i+1))
	}
	meanwhile := n.metric("keyframe_keyframer_memory_bytes")
	goOn()
	require.GreaterOrEqual(t, meanwhile, held, "the fold still holds it")
	n.eventually("the end of the fold", func() bool { return n.table(0).Position() > 0 })
	n.eventually("memory that nothing holds", func() bool {
		runtime.GC()
		return kept.Value() == nil
	})
	require.Equal(t, n.table(0).Position(), n.partition(0).Position())
	for i := range 3000 {
		logs[1].Append(memlog.Put(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	require.NoError(t, n.partition(1).WaitApplied(ctx, 3002))
	require.NoError(t, n.k.Remove(t.Context(), topicName))
	require.Zero(t, n.metric("keyframe_keyframer_memory_bytes"))
}

func TestRemovedPartitionHoldsNoMemory(t *testing.T) {
	n := newNode(t, keyframer.Config{MemoryBytes: 1 << 20})
	l := n.add(fold.LastValue, calm(), 1)[0]
	goOn := fillTwice(n, l)
	removed := make(chan error, 1)
	p := n.partition(0)
	go func() { removed <- n.k.Remove(context.Background(), topicName) }()
	n.eventually("the stop", func() bool { _, err := p.Table(); return err != nil })
	goOn()
	require.NoError(t, <-removed)
	require.Zero(t, n.metric("keyframe_keyframer_memory_bytes"))
}

// A batch that is larger than the bound passes.
func TestOneLargeBatch(t *testing.T) {
	n := newNode(t, keyframer.Config{MemoryBytes: 1 << 10})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", strings.Repeat("x", 8<<10)))
	l.Append(memlog.Put("b", strings.Repeat("x", 8<<10)))
	n.applied()
	n.cut()
	require.EqualValues(t, 2, n.table(0).Digest().Count)
}

func TestRejectedDeltasAreCounted(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.Counter, calm(), 1)[0]
	l.Append(memlog.Put("a", "9223372036854775807"))
	l.Append(memlog.Put("a", "1"))
	n.cut()
	require.EqualValues(t, 1, n.metric("keyframe_fold_rejected_total"))
	require.EqualValues(t, 1, n.table(0).Frames()[0].Rejected)
	v, _ := n.get(0, "a")
	require.Equal(t, "9223372036854775807", v, "skipped, the row stays")
}

func TestRemoveDropsTheTable(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", "1"))
	n.cut()
	waiting := make(chan error)
	p := n.partition(0)
	go func() { waiting <- p.WaitApplied(context.Background(), 99) }()
	topic, _ := n.k.Topic(topicName)
	gone := topic.Changed()
	require.NoError(t, n.k.Remove(context.Background(), topicName))
	<-gone
	require.ErrorIs(t, <-waiting, keyframer.ErrUnknownTopic)
	require.Zero(t, l.Watchers())
	ordinals, err := n.tables.Ordinals()
	require.NoError(t, err)
	require.Empty(t, ordinals)
	_, err = p.Live()
	require.ErrorIs(t, err, keyframer.ErrUnknownTopic)
	require.ErrorIs(t, n.k.Remove(context.Background(), topicName), keyframer.ErrUnknownTopic)
}

func TestRemoveTakesTheTopicsMetrics(t *testing.T) {
	n, _ := trimmed(t, fold.LastValue, calm(), func(_ *node, l *memlog.Log) { l.Append(memlog.Put("a", "1")) })
	n.eventually("the trim is counted", func() bool { return n.metric("keyframe_trims_total") == 1 })
	require.NoError(t, n.k.Remove(context.Background(), topicName))
	families, err := n.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			for _, label := range m.Label {
				require.NotEqual(t, topicName, label.GetValue(), f.GetName())
			}
		}
	}
}

// given is a catalog's ordinals.
type given struct {
	next int64
	kept []uint32
}

func (g *given) NextOrdinal() (int64, error)     { return g.next, nil }
func (g *given) KeptOrdinals() ([]uint32, error) { return g.kept, nil }
func (g *given) KeepOrdinals(list []uint32) error {
	g.kept = append(g.kept, list...)
	g.next = int64(list[len(list)-1]) + 1
	return nil
}

func TestSweepDropsUnknownTables(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	for _, l := range logs {
		l.Append(memlog.Put("a", "1"))
	}
	n.cut()
	n.restart()
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs[0]), calm()))
	// The catalog has not given out 2: its topic was not deleted, the log has lost it.
	require.NoError(t, n.k.Sweep(context.Background(), &given{next: 2}))
	ordinals, err := n.tables.Ordinals()
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 2}, ordinals)
	require.Contains(t, n.logged.String(), "ERROR a table belongs to a topic that the log does not know")
	require.NoError(t, n.k.Sweep(context.Background(), &given{next: 3, kept: []uint32{2}}))
	ordinals, err = n.tables.Ordinals()
	require.NoError(t, err)
	require.Equal(t, []uint32{1, 2}, ordinals, "at no later start either")
	require.NoError(t, n.k.Sweep(context.Background(), &given{next: 3}))
	ordinals, err = n.tables.Ordinals()
	require.NoError(t, err)
	require.Equal(t, []uint32{1}, ordinals)
}

func TestAddTwiceAndAfterClose(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	n.add(fold.LastValue, calm(), 1)
	require.ErrorIs(t, n.k.Add(spec(fold.LastValue), calm()), keyframer.ErrExists)
	require.NoError(t, n.k.Close())
	require.ErrorIs(t, n.k.Add(keyframer.TopicSpec{Name: "x"}, calm()), keyframer.ErrClosed)
}

func TestPausedTopicsKeepTheirRows(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", "1"))
	n.cut()
	s.Paused = true
	n.settle(s)
	l.Append(memlog.Put("a", "2"))
	v, _ := n.get(0, "a")
	require.Equal(t, "1", v)
	s.Paused = false
	n.settle(s)
	n.applied()
	v, _ = n.get(0, "a")
	require.Equal(t, "2", v)
}

func TestWaitAppliedHonoursItsContext(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	n.add(fold.LastValue, calm(), 1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, n.partition(0).WaitApplied(ctx, 5), context.Canceled)
	require.NoError(t, n.partition(0).WaitApplied(ctx, 0))
}

// A null key, which an external log does not refuse, is skipped and counted.
func TestNullKeysAreSkipped(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(batch.Record{Value: []byte("x")}, memlog.Put("a", "1"))
	n.cut()
	require.EqualValues(t, 1, n.table(0).Digest().Count)
	require.EqualValues(t, 1, n.metric("keyframe_fold_rejected_total"))
}

// So is one that memory asked for, although no limit of the topic is reached.
func TestFailedFoldsForMemoryAreTriedAgain(t *testing.T) {
	n := newNode(t, keyframer.Config{MemoryBytes: 1 << 20})
	l := n.add(fold.LastValue, calm(), 1)[0]
	n.noTables.Store(true)
	for i := range 600 {
		l.Append(memlog.Put(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	n.eventually("a failure", func() bool { return strings.Contains(n.logged.String(), "a fold failed and is tried again") })
	n.noTables.Store(false)
	n.clock.advance(time.Minute)
	n.settle(calm())
	n.eventually("the fold", func() bool { return n.table(0).Position() > 0 })
	n.applied()
}

// A fold that fails is tried again, with what came since; reads go on all the while.
func TestFailedFoldsAreTriedAgain(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 2
	l := n.add(fold.Counter, s, 1)[0]
	n.noTables.Store(true)
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	n.eventually("a failure", func() bool { return strings.Contains(n.logged.String(), "a fold failed and is tried again") })
	v, _ := n.get(0, "a")
	require.Equal(t, "1", v)
	require.NoError(t, n.partition(0).Failure())
	n.noTables.Store(false)
	n.clock.advance(time.Minute)
	l.Append(memlog.Put("a", "5"))
	n.eventually("a frame", func() bool { return len(cuts(n.table(0))) > 0 })
	n.applied()
	n.cut()
	v, _ = n.get(0, "a")
	require.Equal(t, "6", v)
	require.EqualValues(t, 2, n.table(0).Digest().Count)
}
