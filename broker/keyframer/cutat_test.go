package keyframer_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Many who want a frame at or above an offset share one; one that is there will do.
func TestCutAtIsShared(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	for i := range 100 {
		logs[0].Append(memlog.Put(fmt.Sprint("k", i), "v"))
	}
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for i := range 50 {
		all.Go(func() {
			f, err := n.k.CutAt(ctx, topicName, 0, int64(i+1))
			if err != nil || f.Cut != 100 {
				t.Errorf("frame %d: %v", f.Cut, err)
			}
		})
	}
	all.Wait()
	require.Equal(t, []int64{100}, cuts(n.table(0)))
	require.Empty(t, cuts(n.table(1)), "of this partition alone")

	logs[0].Append(memlog.Put("more", "v"))
	f, err := n.k.CutAt(ctx, topicName, 0, 100)
	require.NoError(t, err)
	require.EqualValues(t, 100, f.Cut, "it is there already")
	f, err = n.k.CutAt(ctx, topicName, 0, 101)
	require.NoError(t, err)
	require.EqualValues(t, 101, f.Cut)
	_, err = n.k.CutAt(ctx, topicName, 0, 102)
	require.ErrorIs(t, err, keyframer.ErrAboveStable)
	_, err = n.k.CutAt(ctx, topicName, 1, 0)
	require.ErrorIs(t, err, keyframer.ErrAboveStable, "nothing was ever committed")
	_, err = n.k.CutAt(ctx, topicName, 7, 0)
	require.ErrorIs(t, err, keyframer.ErrUnknownPartition)
	_, err = n.k.CutAt(ctx, "other", 0, 0)
	require.ErrorIs(t, err, keyframer.ErrUnknownTopic)

	// The name of a topic's cut stays one cut's, whichever partition is cut in between.
	n.clock.advance(time.Second)
	logs[1].Append(memlog.Put("a", "v"))
	whole := n.cut()
	n.clock.advance(time.Second)
	logs[0].Append(memlog.Put("b", "v"))
	_, err = n.k.CutAt(ctx, topicName, 0, 102)
	require.NoError(t, err)
	topic, _ := n.k.Topic(topicName)
	at, err := topic.Resolve(whole.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{101, 1}, at)

	settings := calm()
	settings.Paused = true
	n.settle(settings)
	logs[0].Append(memlog.Put("c", "v"))
	_, err = n.k.CutAt(ctx, topicName, 0, 103)
	require.ErrorIs(t, err, keyframer.ErrNotKeyFramed)
}

// Who waits for a cut that is enough takes it, though the log has grown meanwhile.
func TestCutAtTakesTheCutItWaitedFor(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", "v"))
	n.applied()
	goOn := n.holdUp()
	before := n.creating.Load()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			f, err := n.k.CutAt(context.Background(), topicName, 0, 1)
			if err != nil || f.Cut != 1 {
				t.Errorf("frame %d: %v", f.Cut, err)
			}
		})
	}
	n.eventually("a cut is under way", func() bool { return n.creating.Load() > before })
	l.Append(memlog.Put("b", "v"))
	goOn()
	all.Wait()
	require.Equal(t, []int64{1}, cuts(n.table(0)))
}

// The log in memory answers as storage/log does (KIP-320).
func TestMemlogEpochEnds(t *testing.T) {
	l := memlog.New(newClock().Now)
	for _, epoch := range []int32{2, 5, 7} {
		l.SetEpoch(epoch)
		l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	}
	l.SetEpoch(9)
	for epoch, want := range map[int32][2]int64{
		-1: {-1, -1}, 0: {0, 0}, 2: {2, 2}, 4: {2, 2}, 5: {5, 4}, 7: {7, 6}, 8: {7, 6}, 9: {9, 6}, 10: {-1, -1},
	} {
		found, end := l.EpochEnd(epoch)
		require.Equal(t, want, [2]int64{int64(found), end}, epoch)
	}
}
