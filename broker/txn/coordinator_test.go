package txn

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

// These tests run in a bubble in which time passes when everybody waits (testing/synctest).

func open(t *testing.T, store Store, markers Markers, change ...func(*Config)) *Coordinator {
	t.Helper()
	cfg := Config{Settings: DefaultSettings(), Store: store, Markers: markers}
	for _, f := range change {
		f(&cfg)
	}
	c, err := Open(cfg)
	require.NoError(t, err)
	return c
}

func wait(t *testing.T, a Answer) Reply {
	t.Helper()
	r, ok := a.Wait(t.Context())
	require.True(t, ok)
	return r
}

func initID(t *testing.T, c *Coordinator, id string) Producer {
	t.Helper()
	r := wait(t, c.Init(id, time.Minute, nil))
	require.Nil(t, r.Err)
	return r.Producer
}

var p0 = Partition{Topic: "t", Index: 0, Ordinal: 7}

func TestCoordinatorCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, markers, groups, reg := newMemStore(), &memMarkers{}, &memGroups{}, prometheus.NewRegistry()
		c := open(t, store, markers, func(cfg *Config) { cfg.Groups, cfg.Metrics = groups, reg })
		p := initID(t, c, "tx")
		done, err := c.Begin("tx", p, p0, true)
		require.Nil(t, err)
		require.Equal(t, catalog.TxnOngoing, store.state("tx"), "the partition is in before anything is appended")
		groupDone, err := c.BeginGroup("tx", p, "g", true)
		require.Nil(t, err)
		end := c.End("tx", p, true, true)
		synctest.Wait()
		require.Empty(t, markers.ends, "an append and a commit are under way")
		_, err = c.Begin("tx", p, p0, true)
		require.Equal(t, kerr.ConcurrentTransactions, err)
		done()
		groupDone()
		r := wait(t, end)
		require.Nil(t, r.Err)
		require.Equal(t, Producer{p.ID, p.Epoch + 1}, r.Producer)
		require.Len(t, markers.ends, 1)
		require.Equal(t, []Partition{p0}, markers.ends[0].Partitions)
		require.Equal(t, []string{"hold g", "commit", "durable"}, groups.noted())
		require.Equal(t, catalog.TxnCommitted, store.state("tx"))
		require.Equal(t, 1.0, testutil.ToFloat64(c.metrics.ends.WithLabelValues("commit")))
		problems, lintErr := testutil.GatherAndLint(reg)
		require.NoError(t, lintErr)
		require.Empty(t, problems)
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.End("tx", p, true, true)).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.Init("tx", time.Minute, nil)).Err)
	})
}

func TestCoordinatorKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, markers := newMemStore(), &memMarkers{}
		c := open(t, store, markers)
		p, q := initID(t, c, "p"), initID(t, c, "q")
		for id, x := range map[string]Producer{"p": p, "q": q} {
			require.Nil(t, wait(t, c.Add(id, x, []Partition{p0})).Err)
		}
		time.Sleep(59 * time.Second)
		require.Nil(t, wait(t, c.End("q", q, true, true)).Err)
		require.Equal(t, catalog.TxnOngoing, store.state("p"))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, catalog.TxnAborted, store.state("p"))
		require.Equal(t, catalog.TxnCommitted, store.state("q"))
		require.Equal(t, 1.0, testutil.ToFloat64(c.metrics.timeouts))
		_, err := c.Begin("p", p, p0, true)
		require.Equal(t, kerr.ProducerFenced, err)

		time.Sleep(7 * 24 * time.Hour)
		synctest.Wait()
		require.Empty(t, store.all, "transactional.id.expiration.ms")
		_, err = c.Describe("p")
		require.Equal(t, kerr.TransactionalIDNotFound, err)
		require.Equal(t, int16(0), initID(t, c, "p").Epoch)
		require.NoError(t, c.Close())
	})
}

// An end that cannot be written leaves the transaction open, and is asked for again.
func TestCoordinatorTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, markers, groups := newMemStore(), &memMarkers{fail: 3}, &memGroups{}
		c := open(t, store, markers, func(cfg *Config) { cfg.Groups = groups })
		p := initID(t, c, "tx")
		require.Nil(t, wait(t, c.AddGroup("tx", p, "g")).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.End("tx", p, true, true)).Err)
		require.Equal(t, []string{"hold g", "failed"}, groups.noted())
		require.Equal(t, catalog.TxnOngoing, store.state("tx"))
		time.Sleep(time.Minute)
		synctest.Wait()
		for calls := 2; calls <= 4; calls++ {
			require.Equal(t, calls, markers.called(), "not in a loop")
			require.Equal(t, calls == 4, store.state("tx") == catalog.TxnAborted)
			time.Sleep(retryAfter)
			synctest.Wait()
		}
		require.Equal(t, 4, markers.called())
		require.NoError(t, c.Close())
	})
}

// What could not be saved is not told: an epoch that is not durable may be given to another producer after a restart.
func TestCoordinatorDoesNotTellWhatItCouldNotSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store, &memMarkers{})
		p := initID(t, c, "tx")
		store.fail = true
		r := wait(t, c.Init("tx", time.Minute, nil))
		require.Equal(t, Reply{Err: kerr.CoordinatorNotAvailable, Producer: NoProducer()}, r)
		p.Epoch++
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.Add("tx", p, []Partition{p0})).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.Add("tx", p, []Partition{p0})).Err, "it is in, and not durable")
		store.fail = false
		require.Nil(t, wait(t, c.AddGroup("tx", p, "g")).Err, "with all that was not saved before")
		require.Len(t, store.all["tx"].Partitions, 1)
		require.NoError(t, c.Close())
	})
}

// What was open goes on after a restart, and times out as if nothing had happened.
func TestCoordinatorRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, markers := newMemStore(), &memMarkers{}
		c := open(t, store, markers)
		p, q := initID(t, c, "p"), initID(t, c, "q")
		require.Nil(t, wait(t, c.Add("p", p, []Partition{p0})).Err)
		require.Nil(t, wait(t, c.Add("q", q, []Partition{p0})).Err)
		time.Sleep(30 * time.Second)
		require.NoError(t, c.Close())
		c = open(t, store, markers)
		require.Nil(t, c.Verify("p", p, p0))
		require.Nil(t, wait(t, c.End("p", p, true, true)).Err)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		require.Equal(t, catalog.TxnAborted, store.state("q"))
		require.NoError(t, c.Close())
	})
}

// Close waits for the end that is being written, and an append that ends after it asks for none.
func TestCoordinatorCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, markers := newMemStore(), &memMarkers{gate: make(chan struct{})}
		c := open(t, store, markers)
		p, q := initID(t, c, "p"), initID(t, c, "q")
		require.Nil(t, wait(t, c.Add("p", p, []Partition{p0})).Err)
		end := c.End("p", p, true, true)
		done, err := c.Begin("q", q, p0, true)
		require.Nil(t, err)
		c.End("q", q, true, true)
		closed := make(chan error)
		go func() { closed <- c.Close() }()
		synctest.Wait()
		require.Empty(t, closed)
		done()
		close(markers.gate)
		require.NoError(t, <-closed)
		require.Nil(t, wait(t, end).Err)
		require.Equal(t, catalog.TxnCommitted, store.state("p"))
		require.Equal(t, catalog.TxnOngoing, store.state("q"))
	})
}

// A full disk refuses what would fill it, and never the end of a transaction.
func TestCoordinatorFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := false
		c := open(t, newMemStore(), &memMarkers{}, func(cfg *Config) {
			cfg.Admit = func(int) error {
				if full {
					return &engine.DiskFullError{}
				}
				return nil
			}
		})
		p := initID(t, c, "tx")
		require.Nil(t, wait(t, c.Add("tx", p, []Partition{p0})).Err)
		full = true
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.Init("other", time.Minute, nil)).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, wait(t, c.Add("tx", p, []Partition{{Topic: "t", Index: 1}})).Err)
		require.Nil(t, wait(t, c.End("tx", p, true, true)).Err)
		require.NoError(t, c.Close())
	})
}

func TestCoordinatorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store, &memMarkers{})
		for _, id := range []string{"", strings.Repeat("x", catalog.TxnIDMax+1)} {
			require.Equal(t, kerr.InvalidRequest, wait(t, c.Init(id, time.Minute, nil)).Err)
		}
		for _, timeout := range []time.Duration{-1, 0, 15*time.Minute + 1} {
			require.Equal(t, kerr.InvalidTransactionTimeout, wait(t, c.Init("tx", timeout, nil)).Err)
		}
		require.Equal(t, kerr.InvalidProducerIDMapping, wait(t, c.End("none", Producer{}, true, true)).Err)
		require.Equal(t, kerr.InvalidProducerIDMapping, c.Verify("none", Producer{}, p0))
		require.Empty(t, store.all)
		list, _, err := c.List(Filter{LongerThanMs: -1})
		require.Nil(t, err)
		require.Empty(t, list, "questions do not create transactional ids")
		require.NoError(t, c.Close())
	})
}

// Producer ids that were drawn and not needed are given to the next.
func TestCoordinatorKeepsSpareIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store, &memMarkers{})
		first := initID(t, c, "a")
		for range 100 {
			require.Equal(t, first.ID, initID(t, c, "a").ID)
		}
		require.Equal(t, first.ID+1, initID(t, c, "b").ID)
		require.NoError(t, c.Close())
	})
}

// Many clients at once: each transactional id has one producer at a time that can do anything, and all of their ends are written.
func TestCoordinatorUnderLoad(t *testing.T) {
	db, err := pebble.Open("db", &pebble.Options{FS: vfs.NewMem(), FormatMajorVersion: pebble.FormatNewest})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	store, err := catalog.Open(db, time.Now, zeroes{})
	require.NoError(t, err)
	markers := &memMarkers{}
	c := open(t, batched{store, db}, markers)
	ids := []string{"a", "b", "c"}
	var mu sync.Mutex
	commits := map[string]int{}
	var all sync.WaitGroup
	for n := range 9 {
		all.Go(func() {
			id := ids[n%len(ids)]
			for range 50 {
				r, _ := c.Init(id, time.Minute, nil).Wait(t.Context())
				if r.Err != nil {
					continue
				}
				done, err := c.Begin(id, r.Producer, p0, true)
				if err != nil {
					continue
				}
				done()
				if r, _ := c.End(id, r.Producer, true, true).Wait(t.Context()); r.Err == nil {
					mu.Lock()
					commits[id]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	require.NoError(t, c.Close())
	written := 0
	for _, e := range markers.ends {
		if e.Commit {
			written++
		}
	}
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, commits["a"]+commits["b"]+commits["c"], written)
	require.Positive(t, written)
	stored, err := store.Transactions()
	require.NoError(t, err)
	require.Len(t, stored, 3)
	last := map[string]int16{}
	for _, e := range markers.ends {
		require.Greater(t, e.Marker.Epoch, last[e.After.ID], "epochs never go back")
		last[e.After.ID] = e.Marker.Epoch
	}
}

// batched gives EndTransaction a batch, as package log does.
type batched struct {
	*catalog.Catalog
	db *pebble.DB
}

func (b batched) EndTransaction(_ *pebble.Batch, t *catalog.Transaction, producerID int64, additions int) error {
	pb := b.db.NewBatch()
	defer pb.Close()
	return errors.Join(b.Catalog.EndTransaction(pb, t, producerID, additions), b.db.Apply(pb, pebble.Sync))
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { return len(b), nil }
