package lease_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/crashfs"
)

// promise is a lease that its replica was told of.
type promise struct {
	terms    lease.Terms
	position int64
	ended    bool // by a call that returned
}

// crashed is a desk over a file system that calls before each of its writes; what it has promised is at hand then.
type crashed struct {
	t  *testing.T
	fs *crashfs.FS

	mu       sync.Mutex // guards the rest; Pebble writes from goroutines of its own
	onStep   func()
	promises map[lease.ID]*promise
}

// on is fs with a crash before each change of a file, and behind each sync.
func (c *crashed) on() vfs.FS {
	return errorfs.Wrap(c.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo, errorfs.OpCreate, errorfs.OpRename, errorfs.OpLink, errorfs.OpRemove:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.onStep()
		}
		return nil
	}))
}

func openDesk(t *testing.T, fs vfs.FS, nowMs int64) (*lease.Desk, *catalog.Catalog, *pebble.DB) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}})
	require.NoError(t, err)
	now := func() time.Time { return time.UnixMilli(nowMs) }
	c, err := catalog.Open(db, now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	desk, err := lease.Open(lease.Config{Store: c, Now: now})
	require.NoError(t, err)
	return desk, c, db
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// check opens what a crash leaves: every lease that a replica was told of and that was not ended holds what it held when it was granted, for its full
// time; one that is there is one that was granted, and as it was.
func (c *crashed) check(t *testing.T, image vfs.FS, promises map[lease.ID]promise, all map[lease.ID]lease.Terms) {
	const laterMs = 10_000_000
	desk, _, db := openDesk(t, image, laterMs)
	defer func() { require.NoError(t, db.Close()) }()
	there := map[lease.ID]lease.Lease{}
	for _, l := range desk.Leases() {
		require.Equal(t, all[l.ID], l.Terms)
		require.EqualValues(t, laterMs+30_000, l.ExpiryMs)
		there[l.ID] = l
	}
	for id, p := range promises {
		if p.ended {
			continue
		}
		require.Contains(t, there, id, "%+v", p.terms)
		from, since, cuts := desk.Held(p.terms.TopicID, p.terms.Partition)
		require.LessOrEqual(t, from, p.terms.From)
		require.Contains(t, cuts, p.terms.Cut)
		if p.terms.Since >= 0 {
			require.LessOrEqual(t, since, p.terms.Since)
		}
		l, err := desk.Renew(id, p.position)
		require.NoError(t, err)
		require.Equal(t, max(p.terms.From, p.position), l.From)
	}
}

// Killed at any write, the broker holds all that it has told a replica that it holds, and nothing that it never granted.
func TestACrashAtEachWrite(t *testing.T) {
	c := &crashed{t: t, fs: crashfs.New(), promises: map[lease.ID]*promise{}, onStep: func() {}}
	all := map[lease.ID]lease.Terms{} // that were ever granted
	type image struct {
		fs       *crashfs.FS
		promises map[lease.ID]promise
	}
	var images []image
	desk, store, db := openDesk(t, c.on(), 1_000_000)
	tell := func(change func()) {
		c.mu.Lock()
		defer c.mu.Unlock()
		change()
	}
	tell(func() {
		c.onStep = func() {
			at := image{fs: c.fs.CrashClone(vfs.CrashCloneCfg{}), promises: map[lease.ID]promise{}}
			for id, p := range c.promises {
				at.promises[id] = *p
			}
			images = append(images, at)
		}
	})
	r := rand.New(rand.NewPCG(7, 8))
	grant := func(i int) lease.Lease {
		terms := lease.Terms{Topic: "files", TopicID: [16]byte{byte(i % 3)}, Partition: int32(i % 2), Incarnation: [16]byte{9}, Replica: fmt.Sprint("r", i%7), Cut: int64(100 + i), Since: -1}
		if terms.From = terms.Cut; i%4 == 0 {
			terms.Since = int64(i)
		}
		l, err := desk.Grant(terms)
		require.NoError(t, err)
		tell(func() {
			all[l.ID] = terms
			for _, p := range c.promises { // its former one ends with the grant
				if p.terms.Replica == terms.Replica && p.terms.TopicID == terms.TopicID && p.terms.Partition == terms.Partition {
					p.ended = true
				}
			}
		})
		require.NoError(t, desk.Persist(l))
		tell(func() { c.promises[l.ID] = &promise{terms: terms, position: -1} })
		return l
	}
	for i := range 60 {
		l := grant(i)
		switch r.IntN(4) {
		case 0:
			position := l.Cut - 50 + int64(r.IntN(50))
			_, err := desk.Renew(l.ID, position)
			require.NoError(t, err)
			tell(func() { c.promises[l.ID].position = position })
		case 1:
			tell(func() { c.promises[l.ID].ended = true })
			require.NoError(t, desk.Release(l.ID))
		case 2:
			if i%5 == 0 {
				require.NoError(t, db.Flush())
			}
		}
	}
	tell(func() { c.onStep = func() {} })
	stored, err := store.Leases()
	require.NoError(t, err)
	require.Len(t, stored, len(desk.Leases()), "nothing is left of those that ended")
	require.NoError(t, db.Close())
	for _, at := range images {
		c.check(t, at.fs, at.promises, all)
	}
	require.Greater(t, len(images), 60, "each grant is synced")
}

// interrupted is a store that has something happen while a lease is being written.
type interrupted struct {
	lease.Store
	before func()
}

func (s *interrupted) PutLease(l *catalog.Lease, replaced ...[16]byte) error {
	s.before()
	return s.Store.PutLease(l, replaced...)
}

// A lease that ends while it is being written is not told of, and leaves nothing in the store that the next start would take for one that is out.
func TestALeaseEndsWhileItIsWritten(t *testing.T) {
	for name, x := range map[string]struct {
		end  func(*rig, lease.Lease)
		want error
	}{
		"revoked":       {func(r *rig, l lease.Lease) { require.NoError(r.t, r.desk.Revoke(l.ID)) }, lease.ErrRevoked},
		"expired":       {func(r *rig, _ lease.Lease) { r.nowMs.Add(30_000) }, lease.ErrExpired},
		"topic deleted": {func(r *rig, l lease.Lease) { require.NoError(r.t, r.desk.DropTopic(l.TopicID)) }, lease.ErrTopicDeleted},
		"replaced": {func(r *rig, l lease.Lease) {
			other, err := r.desk.Grant(l.Terms)
			require.NoError(r.t, err)
			require.NoError(r.t, r.desk.Release(other.ID))
		}, lease.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			store := &interrupted{Store: r.catalog, before: func() {}}
			config := r.config
			config.Store, config.Metrics = store, nil
			var err error
			r.desk, err = lease.Open(config)
			require.NoError(t, err)
			l, err := r.desk.Grant(terms("r", 100))
			require.NoError(t, err)
			store.before = func() {
				store.before = func() {}
				x.end(r, l)
			}
			require.ErrorIs(t, r.desk.Persist(l), x.want)
			stored, err := r.catalog.Leases()
			require.NoError(t, err)
			require.Empty(t, stored)
		})
	}
}

// Whoever holds a frame that is lost is told; who has passed its cut follows the log, which has everything.
func TestFramesAreLost(t *testing.T) {
	r := newRig(t, nil)
	loads, stands, follows := r.grant(terms("loads", 100)), r.grant(terms("stands at the cut", 100)), r.grant(terms("follows", 100))
	elsewhere := terms("elsewhere", 100)
	elsewhere.Partition = 1
	other := r.grant(elsewhere)
	_, err := r.desk.Renew(stands.ID, 100)
	require.NoError(t, err)
	_, err = r.desk.Renew(follows.ID, 101)
	require.NoError(t, err)
	require.NoError(t, r.desk.Lost([16]byte{7}, 0))
	for _, l := range []lease.Lease{loads, stands} {
		_, err = r.desk.Renew(l.ID, 100)
		require.ErrorIs(t, err, lease.ErrRevoked)
	}
	for _, l := range []lease.Lease{follows, other} {
		_, err = r.desk.Renew(l.ID, -1)
		require.NoError(t, err)
	}
	from, _, cuts := r.desk.Held([16]byte{7}, 0)
	require.EqualValues(t, 101, from)
	require.Empty(t, cuts)
	stored, err := r.catalog.Leases()
	require.NoError(t, err)
	require.Len(t, stored, 2)
}
