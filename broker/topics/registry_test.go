package topics

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

// open returns a registry over a file system.
func open(t *testing.T, fs vfs.FS, change func(*Options)) *Registry {
	t.Helper()
	return openAt(t, fs, time.Now, change)
}

// openAt is open with a clock of the test's.
func openAt(t *testing.T, fs vfs.FS, now func() time.Time, change func(*Options)) *Registry {
	t.Helper()
	db, err := pebble.Open("log", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest, Logger: quiet{}})
	require.NoError(t, err)
	cat, err := catalog.Open(db, now, rand.Reader)
	require.NoError(t, err)
	epoch, err := cat.BeginEpoch()
	require.NoError(t, err)
	store, err := log.Open(log.Config{DB: db, LeaderEpoch: epoch, Now: now})
	require.NoError(t, err)
	opts := Options{Catalog: cat, Log: store, RetentionCheck: -1, Now: now}
	if change != nil {
		change(&opts)
	}
	r, err := Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, store.Close())
		require.NoError(t, db.Close())
	})
	return r
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func mustCreate(t *testing.T, r *Registry, name string, partitions int32, configs ...string) *Topic {
	t.Helper()
	set := map[string]string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = configs[i+1]
	}
	topic, err := r.Create(t.Context(), Spec{Name: name, Partitions: partitions, Configs: set})
	require.NoError(t, err)
	return topic
}

func TestRegistryFindsTopics(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	b, a := mustCreate(t, r, "b", 2), mustCreate(t, r, "a", 1)
	require.Equal(t, []*Topic{a, b}, r.List())
	got, ok := r.Get("b")
	require.True(t, ok)
	require.Same(t, b, got)
	got, ok = r.ByID(a.ID)
	require.True(t, ok)
	require.Same(t, a, got)
	require.Len(t, b.Partitions, 2)
	require.Nil(t, b.Partition(2))
	require.Nil(t, b.Partition(-1))
	require.Same(t, b.Partitions[1], b.Partition(1))
	require.NotEqual(t, b.Partitions[0].Incarnation(), b.Partitions[1].Incarnation())

	_, err := r.Create(t.Context(), Spec{Name: "a", Partitions: 1})
	require.ErrorIs(t, err, ErrExists)
	require.ErrorIs(t, r.Delete(t.Context(), "c"), ErrNotFound)
	require.NoError(t, r.Delete(t.Context(), "b"))
	_, ok = r.Get("b")
	require.False(t, ok)
	_, ok = r.ByID(b.ID)
	require.False(t, ok)
	<-b.Gone()
	again := mustCreate(t, r, "b", 1)
	require.NotEqual(t, b.ID, again.ID)
}

func TestRegistryReopens(t *testing.T) {
	fs := vfs.NewMem()
	var before *Topic
	t.Run("before", func(t *testing.T) {
		r := open(t, fs, nil)
		before = mustCreate(t, r, "files", 2, "cleanup.policy", "compact", "keyframe.fold", "counter")
		mustCreate(t, r, "gone", 1)
		require.NoError(t, r.Delete(t.Context(), "gone"))
	})
	r := open(t, fs, nil)
	require.Len(t, r.List(), 1)
	after := r.List()[0]
	require.Equal(t, before.ID, after.ID)
	require.Equal(t, before.Partitions[1].Incarnation(), after.Partitions[1].Incarnation())
	require.Equal(t, before.Config(), after.Config())
	require.Equal(t, fold.Counter, after.Config().Fold)
}

func TestHooks(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	mustCreate(t, r, "early", 1)
	var seen []string
	r.AddHooks(Hooks{
		Created: func(t *Topic) { seen = append(seen, "+"+t.Name) },
		Deleted: func(deleted *Topic) {
			seen = append(seen, "-"+deleted.Name)
			_, ok := r.opts.Catalog.Get(deleted.Name)
			require.False(t, ok, "gone from disk before anything else of it goes")
		},
		Changed: func(t *Topic) { seen = append(seen, "~"+t.Name) },
	})
	mustCreate(t, r, "late", 1)
	require.NoError(t, r.SetConfigs(t.Context(), "late", map[string]string{"retention.ms": "5"}))
	require.NoError(t, r.Delete(t.Context(), "early"))
	require.Equal(t, []string{"+early", "+late", "~late", "-early"}, seen)
}

// TestOneOfManyCreates: of concurrent creations of one name one wins, and the others are told.
func TestOneOfManyCreates(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { _, errs[i] = r.Create(context.Background(), Spec{Name: "x", Partitions: 1}) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			require.ErrorIs(t, err, ErrExists)
		}
	}
	require.Equal(t, 1, won)
}

func TestClosedRegistryRefuses(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	mustCreate(t, r, "a", 1)
	require.NoError(t, r.Close())
	_, err := r.Create(t.Context(), Spec{Name: "b", Partitions: 1})
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, r.Delete(t.Context(), "a"), ErrClosed)
	require.ErrorIs(t, r.SetConfigs(t.Context(), "a", nil), ErrClosed)
}

func TestSetConfigs(t *testing.T) {
	fs := vfs.NewMem()
	t.Run("before", func(t *testing.T) {
		r := open(t, fs, nil)
		topic := mustCreate(t, r, "t", 1, "cleanup.policy", "compact")
		var bad *ConfigError
		require.ErrorAs(t, r.SetConfigs(t.Context(), "t", map[string]string{"no.such": "1"}), &bad)
		require.ErrorIs(t, r.SetConfigs(t.Context(), "u", nil), ErrNotFound)
		// While the topic is empty its fold can be set.
		require.NoError(t, r.SetConfigs(t.Context(), "t", map[string]string{"cleanup.policy": "compact", "keyframe.fold": "counter"}))
		require.Equal(t, fold.Counter, topic.Config().Fold)
		appendBatch(t, topic, 1, time.Now())
		require.ErrorAs(t, r.SetConfigs(t.Context(), "t", map[string]string{"cleanup.policy": "compact"}), &bad)
		require.Equal(t, "keyframe.fold", bad.Name)
		// The policy may change; the fold stays and waits, for the records were written for it.
		require.NoError(t, r.SetConfigs(t.Context(), "t", map[string]string{"cleanup.policy": "delete", "keyframe.fold": "counter"}))
		require.False(t, topic.Config().KeyFramed)
		require.ErrorAs(t, r.SetConfigs(t.Context(), "t", map[string]string{"cleanup.policy": "delete"}), &bad)
		require.Equal(t, fold.Counter, topic.Config().Fold)
		require.NoError(t, r.SetConfigs(t.Context(), "t", map[string]string{"cleanup.policy": "compact", "keyframe.fold": "counter", "keyframe.retain": "3"}))
		require.Equal(t, 3, topic.Config().Retain)
	})
	r := open(t, fs, nil)
	topic, _ := r.Get("t")
	require.Equal(t, 3, topic.Config().Retain)
	require.Equal(t, fold.Counter, topic.Config().Fold)
}
