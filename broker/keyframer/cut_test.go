package keyframer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// An empty topic has no state to name.
func TestCutOfNothing(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	n.add(fold.LastValue, calm(), 2)
	c := n.cut()
	require.True(t, c.Consistent)
	require.Empty(t, c.Frames)
	require.Empty(t, c.Name)
}

func TestCutOfAllPartitions(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 3)
	logs[0].Append(memlog.Put("a", "1"))
	logs[1].Append(memlog.Put("b", "1"), memlog.Put("c", "1"))
	first := n.cut()
	require.True(t, first.Consistent)
	require.True(t, keyframer.IsCutName(first.Name), first.Name)
	require.Len(t, first.Frames, 2, "the third partition never had a record")
	require.Equal(t, first.Frames[0].CutTimeMs, first.Frames[1].CutTimeMs, "one time")

	logs[2].Append(memlog.Put("d", "1"))
	logs[0].Append(memlog.Put("a", "2"))
	second := n.cut() // the clock stands still
	require.Greater(t, second.TimeMs, first.TimeMs, "times of cuts increase")
	require.Len(t, second.Frames, 3)

	topic, _ := n.k.Topic(topicName)
	at, err := topic.Resolve(first.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 0}, at)
	at, err = topic.Resolve(second.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 2, 1}, at)

	third := n.cut()
	require.Equal(t, second.Name, third.Name, "nothing has changed")
	_, err = topic.Resolve("cut-20200101T000000.000Z-00000001")
	require.ErrorIs(t, err, keyframer.ErrUnknownCut)
	_, err = topic.Resolve("nonsense")
	require.ErrorIs(t, err, keyframer.ErrUnknownCut)
}

// Two topics that are written in step have frames at the same offsets: the name of a cut of one is none of the other's, whose frame is older.
func TestCutNameOfAnotherTopic(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 1)
	other := spec(fold.LastValue, memlog.New(n.clock.Now))
	other.Name, other.ID, other.Partitions[0].Ordinal = "orders", [16]byte{8}, 2
	require.NoError(t, n.k.Add(other, calm()))
	logs[0].Append(memlog.Put("a", "1"))
	other.Partitions[0].Log.(*memlog.Log).Append(memlog.Put("a", "1"))
	own := n.cut()
	n.clock.advance(time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	foreign, err := n.k.Cut(ctx, other.Name)
	require.NoError(t, err)
	require.Equal(t, own.Frames[0].Cut, foreign.Frames[0].Cut)
	topic, _ := n.k.Topic(topicName)
	_, err = topic.Resolve(foreign.Name)
	require.ErrorIs(t, err, keyframer.ErrUnknownCut)
	_, err = topic.Resolve(own.Name)
	require.NoError(t, err)
}

// A partition whose frame lies below what was on its way when the topic was cut is in the cut with that frame, whatever came of the others.
func TestCutNameWithRecordsUnderWay(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	logs[0].Append(memlog.Put("a", "1"))
	logs[1].Append(memlog.Put("b", "1"))
	n.cut()
	n.clock.advance(time.Second)
	logs[0].Append(memlog.Put("a", "2"))
	logs[1].Hold(true)
	logs[1].Append(memlog.Put("b", "2")) // before the cut, and not yet to be read
	n.clock.advance(time.Second)
	c := n.cut()
	logs[1].Hold(false)
	n.applied()
	topic, _ := n.k.Topic(topicName)
	at, err := topic.Resolve(c.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 1}, at)

	n.clock.advance(time.Second)
	n.cut()
	require.NoError(t, n.table(1).Trim(t.Context(), 2))
	_, err = topic.Resolve(c.Name)
	require.EqualError(t, err, "there is no such cut: "+c.Name+" of files: it is of another topic, or one of its key frames is not kept any more")
}

// A frame that came behind a cut is never taken for the cut's, also where the clock lags behind the times of cuts and the partition
// had nothing to cut.
func TestCutNameWithAClockThatLags(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 1
	logs := n.add(fold.LastValue, s, 2)
	logs[1].Append(memlog.Put("b", "1"))
	for i := range 3 {
		logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
		n.eventually("a frame", func() bool { return len(cuts(n.table(0))) == i+1 }) // each a millisecond later
	}
	n.eventually("a frame", func() bool { return len(cuts(n.table(1))) == 1 })
	c := n.cut()
	logs[1].Append(memlog.Put("b", "2"))
	n.eventually("a frame behind the cut", func() bool { return len(cuts(n.table(1))) == 2 })
	topic, _ := n.k.Topic(topicName)
	at, err := topic.Resolve(c.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{3, 1}, at)
}

// A cut may find a partition at work on a frame of the same offset, whose time is earlier. The partition's next frame does not get
// the cut's own time.
func TestCutNameWithACutUnderWay(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 2
	logs := n.add(fold.LastValue, s, 2)
	for i := range 5 { // the times of partition 1's cuts are ahead
		logs[1].Append(memlog.Put("b", "1"), memlog.Put("b", "2"))
		n.eventually("a frame", func() bool { return len(cuts(n.table(1))) == i+1 })
	}
	goOn := n.holdUp()
	logs[0].Append(memlog.Put("a", "1"), memlog.Put("a", "2"))
	logs[1].Append(memlog.Put("b", "3"))
	n.applied()
	folding := func(index int32) func() bool {
		l, err := n.partition(index).Live()
		require.NoError(t, err)
		return func() bool { return l.IntervalRecords() == 0 }
	}
	n.eventually("a fold of its own", folding(0))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var c keyframer.Cut
	done := make(chan error, 1)
	go func() {
		var err error
		c, err = n.k.Cut(ctx, topicName)
		done <- err
	}()
	n.eventually("a fold for the cut", folding(1))
	goOn()
	require.NoError(t, <-done)
	topic, _ := n.k.Topic(topicName)
	at, err := topic.Resolve(c.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 11}, at)

	n.clock.advance(5 * time.Millisecond) // to the time of the cut
	logs[0].Append(memlog.Put("a", "3"), memlog.Put("a", "4"))
	n.eventually("a frame behind the cut", func() bool { return len(cuts(n.table(0))) == 2 })
	at, err = topic.Resolve(c.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 11}, at)
}

// A restart does not forget when the topic was cut: a partition that had nothing to cut then gives no later frame that time.
func TestCutNameAfterARestart(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	logs[0].Append(memlog.Put("a", "1"))
	logs[1].Append(memlog.Put("b", "1"))
	n.cut()
	n.clock.advance(time.Second)
	logs[0].Append(memlog.Put("a", "2"))
	named := n.cut()
	n.restart()
	s := calm()
	s.IntervalRecords = 1
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), s))
	logs[1].Append(memlog.Put("b", "2"))
	n.eventually("a frame", func() bool { return len(cuts(n.table(1))) == 2 })
	require.Greater(t, n.table(1).Frames()[1].CutTimeMs, named.TimeMs)
}

func TestCutNameOfADroppedFrameIsRefused(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	var names []string
	for i := range 3 {
		n.clock.advance(time.Second)
		logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
		if i != 1 {
			logs[1].Append(memlog.Put("b", fmt.Sprint(i)))
		}
		names = append(names, n.cut().Name)
	}
	topic, _ := n.k.Topic(topicName)
	require.NoError(t, n.table(0).Thin(context.Background(), 2))
	_, err := topic.Resolve(names[1])
	require.ErrorIs(t, err, keyframer.ErrUnknownCut, "partition 0 has changed in between")
	at, err := topic.Resolve(names[0])
	require.NoError(t, err)
	require.Equal(t, []int64{1, 1}, at)
}

// Whoever keeps a cut's name has its frames as long as thinning spares them, over a restart, wherever the cut lies between others: also that of a
// partition that had nothing to cut. Where later names are kept, the former are as any other cut's.
func TestCutToKeep(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.Retain, s.IntervalRecords = 6, 1 // two of them are spared
	logs := n.add(fold.LastValue, s, 2)
	frame := func() {
		n.clock.advance(time.Second)
		logs[0].Append(memlog.Put("a", n.clock.Now().String()))
		end := logs[0].Bounds().LastStable
		n.eventually("a frame, and the others thinned", func() bool {
			at := cuts(n.table(0))
			return len(at) > 0 && at[len(at)-1] == end && len(at) <= s.Retain+1
		})
	}
	resolve := func(name string) ([]int64, error) {
		topic, _ := n.k.Topic(topicName)
		return topic.Resolve(name)
	}
	keep := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c, err := n.k.CutToKeep(ctx, topicName)
		require.NoError(t, err)
		for _, f := range c.Frames {
			require.True(t, f.Kept)
		}
		return c.Name
	}
	logs[1].Append(memlog.Put("b", "1"))
	for range 10 {
		frame()
	}
	first := keep() // its frames are there already
	want, err := resolve(first)
	require.NoError(t, err)
	for range 10 {
		frame()
	}
	logs[1].Append(memlog.Put("b", "2"))
	second := keep()
	for range 20 {
		frame()
	}
	n.restart()
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), s))
	for range 20 {
		frame()
	}
	at, err := resolve(first)
	require.NoError(t, err)
	require.Equal(t, want, at)
	_, err = resolve(second)
	require.NoError(t, err)

	keep()
	for range 20 {
		frame()
	}
	_, err = resolve(first)
	require.ErrorIs(t, err, keyframer.ErrUnknownCut, "the third that is kept")
	_, err = resolve(second)
	require.NoError(t, err)
}

func TestCutHeldBackByAnOpenTransaction(t *testing.T) {
	n := newNode(t, keyframer.Config{Workers: 1})
	logs := n.add(fold.LastValue, calm(), 2)
	l, other := logs[0], logs[1]
	l.Append(memlog.Put("a", "1"))
	l.Hold(true)
	l.Append(memlog.Put("a", "2"))
	c := n.cut()
	require.False(t, c.Consistent)
	other.Append(memlog.Put("b", "1"))
	n.applied() // the only worker came by partition 0 before
	require.Equal(t, []int64{1}, cuts(n.table(0)), "never past the last stable offset")
	require.EqualValues(t, 1, n.partition(0).Position())
	v, _ := n.get(0, "a")
	require.Equal(t, "1", v)
	l.Hold(false)
	require.True(t, n.cut().Consistent)
	require.Equal(t, []int64{1, 2}, cuts(n.table(0)))
}

// slowLog makes who reads it wait.
type slowLog struct {
	*memlog.Log
	gate chan struct{}
}

func (l *slowLog) Batches(from, end int64, maxBytes int) ([]batch.Batch, error) {
	<-l.gate
	return l.Log.Batches(from, end, maxBytes)
}

// A partition that has its frame goes on, but for further cuts, while another is slow to reach its own.
func TestCutWithASlowPartition(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	fast, slow := memlog.New(n.clock.Now), &slowLog{memlog.New(n.clock.Now), make(chan struct{})}
	topic := spec(fold.LastValue, fast, slow.Log)
	topic.Partitions[1].Log = slow
	s := calm()
	s.IntervalRecords = 2
	require.NoError(t, n.k.Add(topic, s))
	fast.Append(memlog.Put("a", "1"))
	slow.Append(memlog.Put("b", "1"))
	type result struct {
		cut keyframer.Cut
		err error
	}
	done := make(chan result, 1)
	go func() {
		c, err := n.k.Cut(context.Background(), topicName)
		done <- result{c, err}
	}()
	n.eventually("the first frame", func() bool { return len(cuts(n.table(0))) == 1 })
	for i := range 5 {
		fast.Append(memlog.Put("a", fmt.Sprint(i)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := n.partition(0).WaitApplied(ctx, 6)
	require.Equal(t, []int64{1}, cuts(n.table(0)), "no cut in between")
	close(slow.gate)
	r := <-done
	require.NoError(t, r.err)
	require.NoError(t, err)
	known, _ := n.k.Topic(topicName)
	at, err := known.Resolve(r.cut.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 1}, at)
	n.eventually("the cut that was due", func() bool { return len(cuts(n.table(0))) == 2 })
}

func TestCutErrors(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	_, err := n.k.Cut(context.Background(), topicName)
	require.ErrorIs(t, err, keyframer.ErrUnknownTopic)
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	s.Paused = true
	n.settle(s)
	_, err = n.k.Cut(context.Background(), topicName)
	require.ErrorIs(t, err, keyframer.ErrNotKeyFramed)
	s.Paused = false
	n.settle(s)
	l.Fail(errors.New("bad sector"))
	l.Append(memlog.Put("a", "1"))
	_, err = n.k.Cut(context.Background(), topicName)
	require.ErrorIs(t, err, keyframer.ErrFailed)
	require.ErrorContains(t, err, "bad sector")
	require.ErrorContains(t, err, "files/0")
	require.Len(t, n.k.Failures(), 1)
	require.EqualValues(t, 1, n.metric("keyframe_keyframer_failed"))
}
