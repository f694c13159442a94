package keyframer_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

// registered is a registry of topics over real logs, which the node's keyframer follows.
type registered struct {
	n      *node
	db     *pebble.DB
	store  *log.Store
	topics *topics.Registry
}

// register opens the log of the node's directory and begins as the broker does.
func (n *node) register() *registered {
	r := &registered{n: n}
	var err error
	r.db, err = n.dir.OpenLogDB()
	require.NoError(n.t, err)
	cat, err := catalog.Open(r.db, n.clock.Now, rand.Reader)
	require.NoError(n.t, err)
	epoch, err := cat.BeginEpoch()
	require.NoError(n.t, err)
	r.store, err = log.Open(log.Config{DB: r.db, Now: n.clock.Now, LeaderEpoch: epoch})
	require.NoError(n.t, err)
	r.topics, err = topics.Open(topics.Options{Catalog: cat, Log: r.store, Now: n.clock.Now, RetentionCheck: -1})
	require.NoError(n.t, err)
	r.topics.AddHooks(n.k.Hooks())
	require.NoError(n.t, n.k.Sweep(context.Background(), cat))
	return r
}

// close ends the keyframer before the logs.
func (r *registered) close() {
	require.NoError(r.n.t, r.n.k.Close())
	require.NoError(r.n.t, r.topics.Close())
	require.NoError(r.n.t, r.store.Close())
}

// put appends one record to a topic's first partition.
func put(t *testing.T, topic *topics.Topic, key, value string) {
	t.Helper()
	putTo(t, topic, 0, key, value)
}

func putTo(t *testing.T, topic *topics.Topic, partition int, key, value string) {
	t.Helper()
	b := batch.NewBuilder(batch.NewOptions())
	require.NoError(t, b.Append(memlog.Put(key, value)))
	encoded, err := b.Finish()
	require.NoError(t, err)
	appended, err := topic.Partitions[partition].Log.Append(encoded)
	require.NoError(t, err)
	require.NoError(t, appended.Wait(t.Context()))
}

// The keyframer follows the registry of topics, and the log is the real one.
func TestHooks(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	r := n.register()
	defer r.close()
	registry := r.topics
	ctx := context.Background()

	_, err := registry.Create(ctx, topics.Spec{Name: "plain", Partitions: 1})
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

	put(t, created, "a", "1")
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

// A log that comes back without its last records, as from an old copy, is another incarnation in every place that knows it.
func TestLostRecordsAreAnotherIncarnation(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	ctx := context.Background()
	run := func(fs vfs.FS, check func(registry *topics.Registry, cat *catalog.Catalog)) {
		db, err := pebble.Open("log", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
		require.NoError(t, err)
		cat, err := catalog.Open(db, n.clock.Now, rand.Reader)
		require.NoError(t, err)
		epoch, err := cat.BeginEpoch()
		require.NoError(t, err)
		store, err := log.Open(log.Config{DB: db, Now: n.clock.Now, LeaderEpoch: epoch})
		require.NoError(t, err)
		registry, err := topics.Open(topics.Options{Catalog: cat, Log: store, Now: n.clock.Now, RetentionCheck: -1})
		require.NoError(t, err)
		registry.AddHooks(n.k.Hooks())
		check(registry, cat)
		require.NoError(t, n.k.Close())
		require.NoError(t, registry.Close())
		require.NoError(t, store.Close())
		require.NoError(t, db.Close())
		n.restart()
	}
	write := func(p *topics.Partition, key string) {
		b := batch.NewBuilder(batch.NewOptions())
		require.NoError(t, b.Append(memlog.Put(key, "v")))
		encoded, err := b.Finish()
		require.NoError(t, err)
		appended, err := p.Log.Append(encoded)
		require.NoError(t, err)
		require.NoError(t, appended.Wait(ctx))
	}

	fs := vfs.NewCrashableMem()
	var old vfs.FS
	var first, second [16]byte
	run(fs, func(registry *topics.Registry, cat *catalog.Catalog) {
		created, err := registry.Create(ctx, topics.Spec{Name: topicName, Partitions: 2, Configs: map[string]string{"cleanup.policy": "compact"}})
		require.NoError(t, err)
		p := created.Partitions[0]
		first = p.Incarnation()
		write(p, "a")
		old = fs.CrashClone(vfs.CrashCloneCfg{})
		write(p, "b")
		n.cut()
	})
	run(old, func(registry *topics.Registry, cat *catalog.Catalog) {
		p, _ := registry.Get(topicName)
		require.EqualValues(t, 1, p.Partitions[0].Log.Bounds().LogEnd)
		second = p.Partitions[0].Incarnation()
		require.NotEqual(t, first, second)
		stored, _ := cat.Get(topicName)
		require.Equal(t, second, stored.Partitions[0].Incarnation)
		require.Equal(t, p.Partitions[1].Incarnation(), stored.Partitions[1].Incarnation)
		require.Equal(t, second, n.partition(0).Incarnation)
		write(p.Partitions[0], "c")
		n.cut()
		require.Equal(t, second, n.table(0).Identity().Incarnation)
		_, ok := n.get(0, "b")
		require.False(t, ok)
		require.NoError(t, p.Partitions[0].Log.TrimTo(ctx, 1)) // writes the log's bounds
	})
	run(old, func(registry *topics.Registry, cat *catalog.Catalog) {
		p, _ := registry.Get(topicName)
		require.Equal(t, second, p.Partitions[0].Incarnation(), "never at a restart")
		require.Equal(t, second, n.partition(0).Incarnation)
	})
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
