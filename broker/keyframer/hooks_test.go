package keyframer_test

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

// The keyframer follows the registry of topics, and the log is the real one.
func TestHooks(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	db, err := n.dir.OpenLogDB()
	require.NoError(t, err)
	cat, err := catalog.Open(db, n.clock.Now, rand.Reader)
	require.NoError(t, err)
	store, err := log.Open(log.Config{DB: db, Now: n.clock.Now})
	require.NoError(t, err)
	defer func() { require.NoError(t, store.Close()) }()
	registry, err := topics.Open(topics.Options{Catalog: cat, Log: store, Now: n.clock.Now, RetentionCheck: -1})
	require.NoError(t, err)
	defer func() { require.NoError(t, registry.Close()) }()
	defer func() { require.NoError(t, n.k.Close()) }() // before the logs
	ctx := context.Background()

	registry.AddHooks(n.k.Hooks())
	_, err = registry.Create(ctx, topics.Spec{Name: "plain", Partitions: 1})
	require.NoError(t, err)
	_, ok := n.k.Topic("plain")
	require.False(t, ok, "not key-framed")

	created, err := registry.Create(ctx, topics.Spec{Name: topicName, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}})
	require.NoError(t, err)
	known, ok := n.k.Topic(topicName)
	require.True(t, ok)
	require.Equal(t, created.ID, known.ID)
	require.Equal(t, fold.LastValue, known.Fold)
	require.NoError(t, n.partition(0).Failure())

	b := batch.NewBuilder(batch.NewOptions())
	require.NoError(t, b.Append(memlog.Put("a", "1")))
	encoded, err := b.Finish()
	require.NoError(t, err)
	appended, err := created.Partitions[0].Log.Append(encoded)
	require.NoError(t, err)
	require.NoError(t, appended.Wait(ctx))
	require.True(t, n.cut().Consistent)
	require.Equal(t, []int64{1}, cuts(n.table(0)))
	v, _ := n.get(0, "a")
	require.Equal(t, "1", v)
	_, _, err = n.k.Rows(ctx, created, created.Partitions[0], 0, 100, nil)
	require.ErrorIs(t, err, keyframer.ErrAboveRows)

	require.NoError(t, registry.Delete(ctx, topicName))
	_, ok = n.k.Topic(topicName)
	require.False(t, ok)
	ordinals, err := n.tables.Ordinals()
	require.NoError(t, err)
	require.Empty(t, ordinals)
	_, _, err = n.k.Rows(ctx, created, created.Partitions[0], 0, 100, nil)
	require.ErrorIs(t, err, keyframer.ErrUnknownTopic)
}
