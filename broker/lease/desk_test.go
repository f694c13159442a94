package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// rig is a desk over a catalog in memory. A partition's log has end bytes: one an offset.
type rig struct {
	t        *testing.T
	fs       *vfs.MemFS
	db       *pebble.DB
	catalog  *catalog.Catalog
	config   lease.Config
	desk     *lease.Desk
	nowMs    atomic.Int64
	full     atomic.Bool
	end      int64
	registry *prometheus.Registry
}

func newRig(t *testing.T, configure func(*lease.Config)) *rig {
	r := &rig{t: t, fs: vfs.NewCrashableMem(), end: 1000, registry: prometheus.NewRegistry()}
	r.nowMs.Store(1_000_000)
	r.config = lease.Config{
		Now: func() time.Time { return time.UnixMilli(r.nowMs.Load()) }, Full: r.full.Load, Metrics: r.registry,
		Bytes: func(_ context.Context, _ [16]byte, _ int32, from int64) (int64, error) {
			return max(r.end-from, 0), nil
		},
	}
	if configure != nil {
		configure(&r.config)
	}
	r.open()
	t.Cleanup(func() { require.NoError(t, r.db.Close()) })
	return r
}

func (r *rig) open() {
	var err error
	r.db, err = pebble.Open("db", &pebble.Options{FS: r.fs, FormatMajorVersion: pebble.FormatValueSeparation})
	require.NoError(r.t, err)
	r.catalog, err = catalog.Open(r.db, r.config.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(r.t, err)
	config := r.config
	if config.Store == nil {
		config.Store = r.catalog
	}
	r.desk, err = lease.Open(config)
	require.NoError(r.t, err)
}

// kill opens what a crash leaves: only what was synced.
func (r *rig) kill() {
	after := r.fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(r.t, r.db.Close())
	r.fs = after
	r.config.Metrics = nil
	r.open()
}

func terms(replica string, cut int64) lease.Terms {
	return lease.Terms{Topic: "files", TopicID: [16]byte{7}, Incarnation: [16]byte{8}, Replica: replica, Cut: cut, Since: -1, From: cut}
}

func (r *rig) grant(terms lease.Terms) lease.Lease {
	r.t.Helper()
	l, err := r.desk.Grant(terms)
	require.NoError(r.t, err)
	require.NoError(r.t, r.desk.Persist(l))
	return l
}

func (r *rig) held() int64 {
	from, _, _ := r.desk.Held([16]byte{7}, 0)
	return from
}

func TestALeaseFollowsItsReplica(t *testing.T) {
	r := newRig(t, nil)
	delta := terms("r", 100)
	delta.Since = 40
	l := r.grant(delta)
	from, since, cuts := r.desk.Held([16]byte{7}, 0)
	require.Equal(t, []any{int64(100), int64(40), []int64{100}}, []any{from, since, cuts})
	for _, other := range []struct {
		topic     [16]byte
		partition int32
	}{{[16]byte{7}, 1}, {[16]byte{6}, 0}} {
		from, _, _ = r.desk.Held(other.topic, other.partition)
		require.EqualValues(t, math.MaxInt64, from)
	}

	r.nowMs.Add(20_000)
	renewed, err := r.desk.Renew(l.ID, -1)
	require.NoError(t, err)
	require.Equal(t, r.nowMs.Load()+30_000, renewed.ExpiryMs)
	_, err = r.desk.Renew(l.ID, 100)
	require.NoError(t, err)
	from, since, cuts = r.desk.Held([16]byte{7}, 0)
	require.Equal(t, []any{int64(100), int64(math.MaxInt64), []int64{100}}, []any{from, since, cuts}, "at the cut: it may repair there")
	_, err = r.desk.Renew(l.ID, 130)
	require.NoError(t, err)
	from, since, cuts = r.desk.Held([16]byte{7}, 0)
	require.Equal(t, []any{int64(130), int64(math.MaxInt64), []int64(nil)}, []any{from, since, cuts})

	require.NoError(t, r.desk.Release(l.ID))
	require.EqualValues(t, math.MaxInt64, r.held())
	_, err = r.desk.Renew(l.ID, 140)
	require.ErrorIs(t, err, lease.ErrExpired)
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Empty(t, stored)
}

// Each end has a reason, which the next call gets; and holds nothing any more.
func TestEnds(t *testing.T) {
	r := newRig(t, nil)
	for want, end := range map[error]func(lease.Lease){
		lease.ErrExpired:      func(lease.Lease) { r.nowMs.Add(30_000) },
		lease.ErrRevoked:      func(l lease.Lease) { require.NoError(t, r.desk.Revoke(l.ID)) },
		lease.ErrTopicDeleted: func(l lease.Lease) { require.NoError(t, r.desk.DropTopic(l.TopicID)) },
	} {
		l := r.grant(terms("r", 100))
		r.nowMs.Add(29_999)
		_, err := r.desk.Renew(l.ID, 0)
		require.NoError(t, err)
		end(l)
		require.EqualValues(t, math.MaxInt64, r.held())
		for range 2 {
			_, err = r.desk.Renew(l.ID, 200)
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, r.desk.Release(l.ID), want)
			require.ErrorIs(t, r.desk.Persist(l), want)
		}
		stored, err := r.catalog.Leases()
		require.NoError(t, err)
		require.Empty(t, stored)
	}
	_, err := r.desk.Renew(lease.ID{1, 2, 3}, 0)
	require.ErrorIs(t, err, lease.ErrExpired, "of a lease that never was")
	r.grant(terms("a", 100))
	r.grant(terms("b", 100))
	require.NoError(t, testutil.GatherAndCompare(r.registry, strings.NewReader(`# HELP keyframe_leases Leases that are out.
# TYPE keyframe_leases gauge
keyframe_leases 2
# HELP keyframe_leases_granted_total Leases granted to replicas.
# TYPE keyframe_leases_granted_total counter
keyframe_leases_granted_total 5
# HELP keyframe_leases_ended_total Leases that ended, by reason (expired, released, replaced, revoked, topic_deleted).
# TYPE keyframe_leases_ended_total counter
keyframe_leases_ended_total{reason="expired"} 1
keyframe_leases_ended_total{reason="released"} 0
keyframe_leases_ended_total{reason="replaced"} 0
keyframe_leases_ended_total{reason="revoked"} 1
keyframe_leases_ended_total{reason="topic_deleted"} 1
`), "keyframe_leases", "keyframe_leases_granted_total", "keyframe_leases_ended_total"))
}

func TestAReplicaHasOneLease(t *testing.T) {
	r := newRig(t, func(c *lease.Config) { c.LeasesMax = 2 })
	a := r.grant(terms("a", 100))
	b := r.grant(terms("b", 200))
	_, err := r.desk.Grant(terms("c", 1))
	require.ErrorIs(t, err, lease.ErrTooMany)
	again := r.grant(terms("a", 150))
	_, err = r.desk.Renew(a.ID, 0)
	require.ErrorIs(t, err, lease.ErrExpired)
	require.EqualValues(t, 150, r.held())
	require.NoError(t, r.desk.Release(b.ID))
	r.grant(terms("c", 1))
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Len(t, stored, 2)
	require.Len(t, r.desk.Leases(), 2)
	require.NotEqual(t, a.ID, again.ID)
}

// A broker that is killed holds what it held, and gives each replica its full time again to say that it is there.
func TestLeasesOutliveAKill(t *testing.T) {
	r := newRig(t, nil)
	delta := terms("a", 100)
	delta.Since = 40
	a := r.grant(delta)
	b := r.grant(terms("b", 90))
	_, err := r.desk.Renew(b.ID, 500)
	require.NoError(t, err)
	r.nowMs.Add(29_000)
	r.kill()
	r.nowMs.Add(29_000)
	from, since, cuts := r.desk.Held([16]byte{7}, 0)
	require.Equal(t, []any{int64(90), int64(40), []int64{90, 100}}, []any{from, since, cuts},
		"from as it was granted: more is held than need be, until b says where it is")
	_, err = r.desk.Renew(b.ID, 510)
	require.NoError(t, err)
	require.EqualValues(t, 100, r.held())
	got, err := r.desk.Renew(a.ID, -1)
	require.NoError(t, err)
	a.ExpiryMs = got.ExpiryMs
	require.Equal(t, a, got)
	r.nowMs.Add(30_000)
	require.EqualValues(t, math.MaxInt64, r.held())

	// Topics that went away meanwhile are told as such.
	c := r.grant(terms("c", 100))
	r.config.TopicExists = func([16]byte) bool { return false }
	r.kill()
	_, err = r.desk.Renew(c.ID, 0)
	require.ErrorIs(t, err, lease.ErrTopicDeleted)
	require.EqualValues(t, math.MaxInt64, r.held())
}

// failing is a store that does not write.
type failing struct {
	lease.Store
	err error
}

func (f *failing) PutLease(l *catalog.Lease, replaced ...[16]byte) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.PutLease(l, replaced...)
}

func (f *failing) DropLeases(ids ...[16]byte) error {
	if f.err != nil {
		return f.err
	}
	return f.Store.DropLeases(ids...)
}

// A grant that could not be made durable holds nothing; an end that could not is written later.
func TestStoreFails(t *testing.T) {
	store := &failing{}
	r := newRig(t, nil)
	store.Store = r.catalog
	r.config.Store, r.config.Metrics = store, nil
	desk, err := lease.Open(r.config)
	require.NoError(t, err)
	r.desk = desk
	a := r.grant(terms("a", 10))
	store.err = errors.New("bad sector")
	b, err := r.desk.Grant(terms("b", 5))
	require.NoError(t, err)
	require.EqualValues(t, 5, r.held())
	require.ErrorIs(t, r.desk.Persist(b), store.err)
	require.EqualValues(t, 10, r.held())
	require.ErrorIs(t, r.desk.Release(a.ID), store.err)
	store.err = nil
	r.grant(terms("c", 20))
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Len(t, stored, 1)
	require.Equal(t, "c", stored[0].Replica)

	// What a grant takes the place of is removed later too.
	store.err = errors.New("bad sector")
	again, err := r.desk.Grant(terms("c", 30))
	require.NoError(t, err)
	require.ErrorIs(t, r.desk.Persist(again), store.err)
	store.err = nil
	require.NoError(t, r.desk.DropTopic([16]byte{1}))
	stored, err = r.catalog.Leases()
	require.NoError(t, err)
	require.Empty(t, stored)
}

// What is held up and too large goes, the largest first, and who holds as much of it too: one of them alone would free nothing.
func TestCapsRevokeTheLargest(t *testing.T) {
	r := newRig(t, func(c *lease.Config) { c.LeaseBytesMax, c.TopicBytesMax = 600, 1000 })
	old, old2, young := r.grant(terms("old", 300)), r.grant(terms("old2", 300)), r.grant(terms("young", 500))
	elsewhere := terms("elsewhere", 450)
	elsewhere.Partition = 1
	other := r.grant(elsewhere)
	stranger := terms("stranger", 10)
	stranger.TopicID = [16]byte{9}
	far := r.grant(stranger)

	// One lease: 700 bytes are held by two.
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	for _, l := range []lease.Lease{old, old2} {
		_, err := r.desk.Renew(l.ID, 0)
		require.ErrorIs(t, err, lease.ErrRevoked)
	}
	// The topic: 500 and 550 together. The larger one goes, though it was the other partition that was held up.
	_, err := r.desk.Renew(other.ID, 0)
	require.ErrorIs(t, err, lease.ErrRevoked)
	_, err = r.desk.Renew(young.ID, 0)
	require.NoError(t, err)
	_, err = r.desk.Renew(far.ID, 0)
	require.NoError(t, err, "the bounds are a topic's")

	// A full disk: the largest of all, at each look.
	r.full.Store(true)
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	_, err = r.desk.Renew(far.ID, 0)
	require.ErrorIs(t, err, lease.ErrRevoked)
	bytes, err := r.desk.RevokeLargest(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 500, bytes)
	bytes, err = r.desk.RevokeLargest(t.Context())
	require.NoError(t, err)
	require.Zero(t, bytes)
	require.Empty(t, r.desk.Leases())
}

// Up to the bound, and where it holds nothing, a lease is left alone.
func TestCapsRevokeNoMore(t *testing.T) {
	r := newRig(t, func(c *lease.Config) { c.LeaseBytesMax, c.TopicBytesMax = 600, 1000 })
	a := r.grant(terms("a", 400))
	elsewhere := terms("b", 600)
	elsewhere.Partition = 1
	b := r.grant(elsewhere)
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	require.Len(t, r.desk.Leases(), 2)
	for _, l := range []lease.Lease{a, b} {
		_, err := r.desk.Renew(l.ID, r.end)
		require.NoError(t, err)
	}
	bytes, err := r.desk.RevokeLargest(t.Context())
	require.NoError(t, err)
	require.Zero(t, bytes)
	require.Len(t, r.desk.Leases(), 2)
}

// Who lets go while it is being measured is not revoked for what it held before.
func TestWhoLetsGoIsNotRevoked(t *testing.T) {
	var r *rig
	var moves lease.Lease
	r = newRig(t, func(c *lease.Config) {
		c.LeaseBytesMax = 600
		c.Bytes = func(_ context.Context, _ [16]byte, _ int32, from int64) (int64, error) {
			_, err := r.desk.Renew(moves.ID, 500)
			return r.end - from, err
		}
	})
	moves = r.grant(terms("moves", 300))
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	_, err := r.desk.Renew(moves.ID, 0)
	require.NoError(t, err)
	stays := r.grant(terms("stays", 300))
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	_, err = r.desk.Renew(moves.ID, 0)
	require.NoError(t, err)
	_, err = r.desk.Renew(stays.ID, 0)
	require.ErrorIs(t, err, lease.ErrRevoked)
}

// A partition whose size is not known keeps nobody from revoking others.
func TestUnknownSizes(t *testing.T) {
	broken := errors.New("closing")
	r := newRig(t, func(c *lease.Config) {
		c.Bytes = func(_ context.Context, _ [16]byte, partition int32, from int64) (int64, error) {
			if partition > 0 {
				return 0, broken
			}
			return 1000 - from, nil
		}
	})
	a := r.grant(terms("a", 100))
	for partition := range int32(30) {
		unknown := terms("b", 0)
		unknown.Partition = partition + 1
		r.grant(unknown)
	}
	bytes, err := r.desk.RevokeLargest(t.Context())
	require.ErrorIs(t, err, broken)
	require.EqualValues(t, 900, bytes)
	_, err = r.desk.Renew(a.ID, 0)
	require.ErrorIs(t, err, lease.ErrRevoked)
}

func TestManyAtOnce(t *testing.T) {
	r := newRig(t, nil)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			l, err := r.desk.Grant(terms(fmt.Sprint("r", i%50), int64(i)))
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.desk.Persist(l); err == nil {
				if _, err := r.desk.Renew(l.ID, 10_000); err != nil && !errors.Is(err, lease.ErrExpired) {
					t.Error(err)
				}
			} else if !errors.Is(err, lease.ErrExpired) {
				t.Error(err)
			}
			r.desk.Held([16]byte{7}, 0)
		})
	}
	all.Wait()
	require.Len(t, r.desk.Leases(), 50)
	r.kill()
	names := map[string]bool{}
	for _, l := range r.desk.Leases() { // what a crash brings back of those that have ended is among them
		names[l.Replica] = true
	}
	require.Len(t, names, 50)
}

// One lease is bounded, also where its topic has room.
func TestOneLeaseIsBounded(t *testing.T) {
	r := newRig(t, func(c *lease.Config) { c.LeaseBytesMax = 600 })
	large, small := r.grant(terms("large", 399)), r.grant(terms("small", 400))
	require.NoError(t, r.desk.HeldBack(t.Context(), [16]byte{7}, 0))
	_, err := r.desk.Renew(large.ID, 0)
	require.ErrorIs(t, err, lease.ErrRevoked)
	_, err = r.desk.Renew(small.ID, 0)
	require.NoError(t, err)
}
