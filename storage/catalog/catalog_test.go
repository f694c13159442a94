package catalog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

func open(t *testing.T, fs vfs.FS) (*Catalog, *pebble.DB) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation})
	require.NoError(t, err)
	c, err := Open(db, func() time.Time { return time.UnixMilli(1_700_000_000_000) }, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	return c, db
}

func TestTopicsSurviveARestart(t *testing.T) {
	fs := vfs.NewMem()
	c, db := open(t, fs)
	a, err := c.Create(Spec{Name: "a", Partitions: 2, Configs: []Config{{"z", "1"}, {"b", "2"}}})
	require.NoError(t, err)
	require.Equal(t, []Config{{"b", "2"}, {"z", "1"}}, a.Configs)
	_, err = c.Create(Spec{Name: "a", Partitions: 1})
	require.ErrorIs(t, err, ErrTopicExists)
	for _, bad := range []Spec{{Name: "", Partitions: 1}, {Name: "x"}, {Name: "x\x00y", Partitions: 1},
		{Name: "x", Partitions: 1, Configs: []Config{{"a", "1"}, {"a", "2"}}}} {
		_, err = c.Create(bad)
		require.ErrorIs(t, err, ErrInvalid)
	}
	b, err := c.Create(Spec{Name: "b", Partitions: 3})
	require.NoError(t, err)
	require.Equal(t, []uint32{2, 3, 4}, []uint32{b.Partitions[0].Ordinal, b.Partitions[1].Ordinal, b.Partitions[2].Ordinal})
	require.NotEqual(t, b.Partitions[0].Incarnation, b.Partitions[1].Incarnation)
	require.NoError(t, c.SetConfigs("b", []Config{{"k", "v"}}))
	require.ErrorIs(t, c.SetConfigs("nope", nil), ErrTopicNotFound)
	b, _ = c.Get("b")
	cluster := c.ClusterID()
	require.Len(t, cluster, 22)
	require.NoError(t, db.Close())

	c, db = open(t, fs)
	require.Equal(t, cluster, c.ClusterID())
	require.Equal(t, []Topic{a, b}, c.List())
	got, ok := c.ByID(b.ID)
	require.True(t, ok)
	require.Equal(t, b, got)

	// Deleting takes the partitions' keys with it, and nobody else's.
	for _, ordinal := range []uint32{0, 1, 2} {
		for _, space := range []byte(keys.PartitionSpaces) {
			require.NoError(t, db.Set(keys.Partition(nil, space, ordinal), nil, pebble.Sync))
		}
	}
	require.NoError(t, c.Delete("a"))
	require.ErrorIs(t, c.Delete("a"), ErrTopicNotFound)
	for ordinal, want := range []error{pebble.ErrNotFound, pebble.ErrNotFound, nil} {
		for _, space := range []byte(keys.PartitionSpaces) {
			_, closer, err := db.Get(keys.Partition(nil, space, uint32(ordinal)))
			require.ErrorIs(t, err, want)
			if err == nil {
				require.NoError(t, closer.Close())
			}
		}
	}
	again, err := c.Create(Spec{Name: "a", Partitions: 1})
	require.NoError(t, err)
	require.Equal(t, uint32(5), again.Partitions[0].Ordinal) // never reused
	require.NotEqual(t, a.ID, again.ID)
	require.NoError(t, db.Close())
}

func TestRenewIncarnation(t *testing.T) {
	fs := vfs.NewMem()
	c, db := open(t, fs)
	before, err := c.Create(Spec{Name: "t", Partitions: 2, Configs: []Config{{"k", "v"}}})
	require.NoError(t, err)
	bounds := keys.Part{Incarnation: before.Partitions[1].Incarnation, LogStart: 1, DeltaStart: 2, BytesBefore: 3}
	at := keys.Partition(nil, keys.SpacePart, before.Partitions[1].Ordinal)
	require.NoError(t, db.Set(at, bounds.Append(nil), pebble.Sync))
	for index := range int32(2) { // the log of partition 0 was never written
		drawn, err := c.RenewIncarnation(before.ID, index)
		require.NoError(t, err)
		now, _ := c.Get("t")
		require.Equal(t, drawn, now.Partitions[index].Incarnation)
		require.NotEqual(t, before.Partitions[index].Incarnation, drawn)
		bounds.Incarnation = drawn
	}
	_, err = c.RenewIncarnation(before.ID, 2)
	require.ErrorIs(t, err, ErrInvalid)
	_, err = c.RenewIncarnation([16]byte{}, 0)
	require.ErrorIs(t, err, ErrTopicNotFound)
	after, _ := c.ByID(before.ID)
	require.NoError(t, db.Close())

	c, db = open(t, fs)
	got, _ := c.Get("t")
	require.Equal(t, after, got)
	require.Equal(t, before.Configs, got.Configs)
	value, ok, err := c.get(at)
	require.NoError(t, err)
	require.True(t, ok)
	stored, err := keys.DecodePart(value)
	require.NoError(t, err)
	require.Equal(t, bounds, stored)
	_, ok, err = c.get(keys.Partition(nil, keys.SpacePart, before.Partitions[0].Ordinal))
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, db.Close())
}

func TestEpochsAndProducerIDsNeverRepeat(t *testing.T) {
	fs := vfs.NewMem()
	seen := map[int64]bool{}
	for run := range int32(3) {
		c, db := open(t, fs)
		epoch, err := c.BeginEpoch()
		require.NoError(t, err)
		require.Equal(t, run, epoch)
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range producerBlock {
					id, err := c.NextProducerID()
					mu.Lock()
					if err != nil || seen[id] {
						t.Errorf("id %d: %v", id, err)
					}
					seen[id] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.NoError(t, db.Close())
	}
	require.Len(t, seen, 3*4*producerBlock)
}

func TestGroups(t *testing.T) {
	fs := vfs.NewMem()
	c, db := open(t, fs)
	commit := func(topic string, p int32, offset int64) OffsetCommit {
		return OffsetCommit{Topic: topic, Partition: p, Offset: offset, LeaderEpoch: -1, Metadata: "m", CommitMs: 5}
	}
	require.NoError(t, c.PutOffsets("g", []OffsetCommit{commit("t", 1, 10), commit("t", 0, 11), commit("s", 0, 12)}))
	require.NoError(t, c.PutOffsets("g", []OffsetCommit{commit("t", 1, 20), {Topic: "s", Delete: true}}))
	require.NoError(t, c.PutOffsets("gg", []OffsetCommit{commit("t", 0, 1)}))
	require.NoError(t, c.PutGroup("h", []byte("state")))
	require.NoError(t, c.PutOffsets("g", nil))
	require.ErrorIs(t, c.PutOffsets("g\x00", nil), ErrInvalid)
	require.ErrorIs(t, c.PutOffsets("g", []OffsetCommit{commit("t", -1, 1)}), ErrInvalid)
	require.NoError(t, db.Close())

	c, db = open(t, fs)
	got, err := c.Offsets("g")
	require.NoError(t, err)
	require.Equal(t, []OffsetCommit{commit("t", 0, 11), commit("t", 1, 20)}, got)
	names, err := c.Groups()
	require.NoError(t, err)
	require.Equal(t, []string{"g", "gg", "h"}, names)
	value, ok, err := c.GetGroup("h")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "state", string(value))
	require.NoError(t, c.DeleteGroup("g"))
	require.NoError(t, c.DeleteGroup("h"))
	got, err = c.Offsets("g")
	require.NoError(t, err)
	require.Empty(t, got)
	_, ok, err = c.GetGroup("h")
	require.NoError(t, err)
	require.False(t, ok)
	names, err = c.Groups()
	require.NoError(t, err)
	require.Equal(t, []string{"gg"}, names)
	require.NoError(t, db.Close())
}

func TestManyCommitsShareASync(t *testing.T) {
	var slow sync.RWMutex // locked: syncs do not end
	var syncs atomic.Int64
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			slow.RLock()
			defer slow.RUnlock()
			syncs.Add(1)
		}
		return nil
	}))
	c, db := open(t, fs)
	slow.Lock()
	before := syncs.Load()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if err := c.PutOffsets(fmt.Sprintf("g%d", i), []OffsetCommit{{Topic: "t", Offset: 1}}); err != nil {
				t.Error(err)
			}
		})
	}
	// All 64 are in the write-ahead log before the first sync ends.
	require.Eventually(t, func() bool { return db.Metrics().WAL.BytesIn > 64*40 }, time.Minute, time.Millisecond)
	slow.Unlock()
	wg.Wait()
	require.Less(t, syncs.Load()-before, int64(16))
	require.NoError(t, db.Close())
}

// reserve refuses while it is full.
type reserve struct{ full bool }

var errFull = errors.New("full")

func (r *reserve) Admit(n int) error {
	if r.full && n > 0 {
		return errFull
	}
	return nil
}

// A full disk refuses what clients may write without end, and nothing else.
func TestFullDisk(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	r := &reserve{}
	c.SetReserve(r)
	commit := []OffsetCommit{{Topic: "t", Offset: 1, LeaderEpoch: -1}}
	_, err := c.Create(Spec{Name: "t", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, c.PutOffsets("g", commit))

	r.full = true
	_, err = c.Create(Spec{Name: "u", Partitions: 1})
	require.ErrorIs(t, err, errFull)
	_, ok := c.Get("u")
	require.False(t, ok)
	require.ErrorIs(t, c.PutOffsets("g", []OffsetCommit{{Topic: "t", Offset: 2}}), errFull)
	got, err := c.Offsets("g")
	require.NoError(t, err)
	require.Equal(t, commit, got)

	require.NoError(t, c.PutOffsets("g", []OffsetCommit{{Topic: "t", Delete: true}}))
	require.NoError(t, c.SetConfigs("t", []Config{{"retention.ms", "1"}}))
	require.NoError(t, c.PutGroup("g", []byte("members")))
	require.NoError(t, c.DeleteGroup("g"))
	require.NoError(t, c.Delete("t"))
	_, err = c.BeginEpoch()
	require.NoError(t, err)
	_, err = c.NextProducerID()
	require.NoError(t, err)

	r.full = false
	_, err = c.Create(Spec{Name: "u", Partitions: 1})
	require.NoError(t, err)
	require.NoError(t, db.Close())
}

func TestDamagedTopic(t *testing.T) {
	fs := vfs.NewMem()
	_, db := open(t, fs)
	for value, want := range map[string]error{"": keys.ErrCorrupt, "\x02": keys.ErrVersion, "\x01abc": keys.ErrCorrupt} {
		require.NoError(t, db.Set(keys.Topic("x"), []byte(value), pebble.Sync))
		_, err := Open(db, time.Now, rand.NewChaCha8([32]byte{}))
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, `"x"`)
	}
	require.NoError(t, db.Close())
}

// The cluster's id is the first key there is. A database that has others has lost it, and a second id would hide that.
func TestLostClusterID(t *testing.T) {
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, db.Set(keys.Broker("leader-epoch"), keys.AppendInt64(nil, 4), pebble.Sync))
	_, err = Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.ErrorIs(t, err, keys.ErrCorrupt)
	require.ErrorContains(t, err, "cluster id")
}

// A deleted topic's ordinals stay below the next one.
func TestNextOrdinal(t *testing.T) {
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer db.Close()
	c, err := Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	_, err = c.Create(Spec{Name: "a", Partitions: 3})
	require.NoError(t, err)
	require.NoError(t, c.Delete("a"))
	next, err := c.NextOrdinal()
	require.NoError(t, err)
	require.EqualValues(t, 3, next)
}

// What is kept is given out to nobody, and is remembered.
func TestKeptOrdinals(t *testing.T) {
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem()})
	require.NoError(t, err)
	defer db.Close()
	c, err := Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	_, err = c.Create(Spec{Name: "a", Partitions: 2})
	require.NoError(t, err)
	require.NoError(t, c.KeepOrdinals([]uint32{5, 3}))
	require.NoError(t, c.KeepOrdinals([]uint32{3}))
	c, err = Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	kept, err := c.KeptOrdinals()
	require.NoError(t, err)
	require.Equal(t, []uint32{3, 5}, kept)
	b, err := c.Create(Spec{Name: "b", Partitions: 1})
	require.NoError(t, err)
	require.EqualValues(t, 6, b.Partitions[0].Ordinal)
}
