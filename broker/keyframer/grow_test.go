package keyframer_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Partitions that come later are folded and cut as the others are, and are at 0 in cuts from before.
func TestGrow(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 1)
	logs[0].Append(memlog.Put("a", "1"))
	before := n.cut()
	topic, _ := n.k.Topic(topicName)
	held := topic.Partitions()
	changed := topic.Changed()

	logs = append(logs, memlog.New(n.clock.Now), memlog.New(n.clock.Now))
	require.NoError(t, n.k.Grow(spec(fold.LastValue, logs...)))
	<-changed
	require.Len(t, held, 1)
	require.Len(t, topic.Partitions(), 3)
	require.Same(t, held[0], n.partition(0))
	at, err := topic.Resolve(before.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 0, 0}, at)

	logs[2].Append(memlog.Put("b", "1"), memlog.Put("c", "2"))
	n.applied()
	v, _ := n.get(2, "c")
	require.Equal(t, "2", v)
	at, err = topic.Resolve(before.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 0, 0}, at, "the cut is older than its records")
	after := n.cut()
	require.True(t, after.Consistent)
	require.Greater(t, after.TimeMs, before.TimeMs, "though the clock stands still")
	at, err = topic.Resolve(after.Name)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 0, 2}, at)

	require.NoError(t, n.k.Grow(spec(fold.LastValue, logs...)), "nothing new")
	require.Len(t, topic.Partitions(), 3)
	other := spec(fold.LastValue, logs...)
	other.ID[0]++
	require.ErrorIs(t, n.k.Grow(other), keyframer.ErrUnknownTopic)
	require.NoError(t, n.k.Remove(context.Background(), topicName))
	ordinals, err := n.tables.Ordinals()
	require.NoError(t, err)
	require.Empty(t, ordinals)
	require.ErrorIs(t, n.k.Grow(spec(fold.LastValue, logs...)), keyframer.ErrUnknownTopic)
}

// Cuts go on while the topic grows, and each can be named.
func TestGrowWhileCutting(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords = 3 // and partitions cut on their own
	logs := n.add(fold.LastValue, s, 1)
	topic, _ := n.k.Topic(topicName)
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var names []string
	go func() {
		defer close(done)
		for len(names) < 30 {
			c, err := n.k.Cut(ctx, topicName)
			if err != nil {
				done <- err
				return
			}
			if c.Name != "" {
				names = append(names, c.Name)
			}
		}
	}()
	for i := range 20 {
		n.clock.advance(time.Second) // what comes behind a cut is younger than it
		logs[i%len(logs)].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
		logs = append(logs, memlog.New(n.clock.Now))
		require.NoError(t, n.k.Grow(spec(fold.LastValue, logs...)))
	}
	require.NoError(t, <-done)
	require.Len(t, topic.Partitions(), 21)
	for _, name := range names {
		at, err := topic.Resolve(name)
		require.NoError(t, err)
		require.Len(t, at, 21)
	}
}

// The registry tells of growth, and a restart finds all of it.
func TestGrowHook(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	r := n.register()
	ctx := context.Background()
	_, err := r.topics.Create(ctx, topics.Spec{Name: topicName, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}})
	require.NoError(t, err)
	_, err = r.topics.Create(ctx, topics.Spec{Name: "plain", Partitions: 1})
	require.NoError(t, err)
	_, err = r.topics.Grow(ctx, "plain", 2)
	require.NoError(t, err)
	_, ok := n.k.Topic("plain")
	require.False(t, ok)
	grown, err := r.topics.Grow(ctx, topicName, 2)
	require.NoError(t, err)
	putTo(t, grown, 1, "b", "1")
	require.Len(t, n.cut().Frames, 1)
	require.Equal(t, []int64{1}, cuts(n.table(1)))
	r.close()
	n.restart()
	r = n.register()
	defer r.close()
	topic, _ := n.k.Topic(topicName)
	require.Len(t, topic.Partitions(), 2)
	require.Equal(t, []int64{1}, cuts(n.table(1)))
	n.applied()
	v, _ := n.get(1, "b")
	require.Equal(t, "1", v)
}
