package txn

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
)

const crashPartitions = 3

// machine is a log, a catalog and a coordinator on one file system.
type machine struct {
	dir        *engine.Dir
	catalog    *catalog.Catalog
	store      *log.Store
	partitions []*log.Partition
	names      []Partition
	c          *Coordinator
}

func boot(t *testing.T, fs vfs.FS) *machine {
	t.Helper()
	m := &machine{}
	var err error
	m.dir, err = engine.OpenDir(engine.Config{Dir: "/data", FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, Fatal: func(msg string) { panic(msg) }})
	require.NoError(t, err)
	db, err := m.dir.OpenLogDB()
	require.NoError(t, err)
	m.catalog, err = catalog.Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	epoch, err := m.catalog.BeginEpoch()
	require.NoError(t, err)
	m.store, err = log.Open(log.Config{DB: db, LeaderEpoch: epoch, Fatal: m.dir.Fatal})
	require.NoError(t, err)
	topic, ok := m.catalog.Get("t")
	if !ok {
		topic, err = m.catalog.Create(catalog.Spec{Name: "t", Partitions: crashPartitions})
		require.NoError(t, err)
	}
	for i, meta := range topic.Partitions {
		p, err := m.store.OpenPartition(log.PartitionID(meta.Ordinal), meta)
		require.NoError(t, err)
		m.partitions = append(m.partitions, p)
		m.names = append(m.names, Partition{Topic: "t", Index: int32(i), Ordinal: meta.Ordinal})
	}
	m.c = open(t, m.catalog, Log{Store: m.store, Epoch: epoch, Find: func(_ string, index int32) (*log.Partition, bool) { return m.partitions[index], true }})
	return m
}

func (m *machine) halt(t *testing.T) {
	t.Helper()
	require.NoError(t, m.c.Close())
	require.NoError(t, m.store.Close())
	require.NoError(t, m.dir.Close())
}

// ending is a transaction whose end was answered.
type ending struct {
	producer   Producer
	commit     bool
	partitions []int32
}

// load runs transactions of one transactional id after the other until stop is closed, and notes those that were answered.
func (m *machine) load(t *testing.T, id string, random *rand.Rand, stop <-chan struct{}, note func(ending)) {
	r, ok := m.c.Init(id, time.Minute, nil).Wait(t.Context())
	require.True(t, ok)
	require.Nil(t, r.Err)
	producer := r.Producer
	for {
		select {
		case <-stop:
			return
		default:
		}
		x := ending{producer: producer, commit: random.IntN(3) > 0}
		for _, i := range random.Perm(crashPartitions)[:1+random.IntN(crashPartitions)] {
			done, refused := m.c.Begin(id, producer, m.names[i], true)
			require.Nil(t, refused)
			opts := batch.NewOptions()
			opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = producer.ID, producer.Epoch, 0, true
			b := batch.NewBuilder(opts)
			require.NoError(t, b.Append(batch.Record{Value: []byte(id)}))
			raw, err := b.AppendTo(nil)
			require.NoError(t, err)
			_, err = m.partitions[i].Append(raw)
			done()
			require.NoError(t, err)
			x.partitions = append(x.partitions, int32(i))
		}
		r, ok := m.c.End(id, producer, x.commit, true).Wait(t.Context())
		require.True(t, ok)
		require.Nil(t, r.Err)
		note(x)
		producer = r.Producer
	}
}

// The disk keeps what it wants of what was not synced: a transaction ends in all of its partitions or in none, what was answered has
// ended, and what is open in a partition is open for the coordinator, so that it can be ended.
func TestCrash(t *testing.T) {
	cycles := 10
	if text, ok := os.LookupEnv("KEYFRAME_TXN_CRASHES"); ok {
		n, err := strconv.Atoi(text)
		require.NoError(t, err)
		cycles = n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	ended, torn := 0, 0
	for range cycles {
		fs := vfs.NewCrashableMem()
		m := boot(t, fs)
		var mu sync.Mutex
		var answered []ending
		stop := make(chan struct{})
		var all sync.WaitGroup
		for i := range 3 {
			own := rand.New(rand.NewPCG(seed, random.Uint64()))
			all.Go(func() {
				m.load(t, fmt.Sprintf("tx-%d", i), own, stop, func(x ending) {
					mu.Lock()
					defer mu.Unlock()
					answered = append(answered, x)
				})
			})
		}
		goal := 20 + random.IntN(60)
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(answered) >= goal
		}, time.Minute, time.Millisecond)
		mu.Lock()
		known := slices.Clone(answered)
		mu.Unlock()
		image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 25, 50, 75, 100}[random.IntN(5)], RNG: random})
		close(stop)
		all.Wait()
		m.halt(t)
		m = boot(t, image)
		ended += len(known)
		torn += m.verify(t, known)
		m.halt(t)
	}
	t.Logf("%d crashes, %d transactions ended before, %d open after", cycles, ended, torn)
}

// verify returns the number of transactions that are open.
func (m *machine) verify(t *testing.T, known []ending) (open int) {
	t.Helper()
	type fate struct {
		commit bool
		in     []int32
	}
	batches, markers := map[Producer][]int32{}, map[Producer]fate{}
	for i, p := range m.partitions {
		list, err := p.Batches(0, p.Bounds().HighWatermark, 1<<30)
		require.NoError(t, err)
		for _, b := range list {
			if !b.IsControl() {
				of := Producer{b.ProducerID(), b.ProducerEpoch()}
				batches[of] = append(batches[of], int32(i))
				continue
			}
			e, err := batch.ParseEndTxn(b)
			require.NoError(t, err)
			of := Producer{e.ProducerID, e.ProducerEpoch - 1} // the marker has the next epoch
			f := markers[of]
			require.True(t, len(f.in) == 0 || f.commit == e.Commit, "%v is committed here and aborted there", of)
			markers[of] = fate{e.Commit, append(f.in, int32(i))}
		}
	}
	for of, in := range batches {
		if f := markers[of]; len(f.in) > 0 {
			require.ElementsMatch(t, in, f.in, "%v has ended in some of its partitions", of)
		}
	}
	for _, x := range known {
		f := markers[x.producer]
		require.ElementsMatch(t, x.partitions, f.in, "%v was answered", x.producer)
		require.Equal(t, x.commit, f.commit)
	}
	ongoing := map[Producer][]int32{}
	stored, err := m.catalog.Transactions()
	require.NoError(t, err)
	for _, x := range stored {
		if x.State == catalog.TxnOngoing {
			for _, tp := range x.Partitions {
				of := Producer{x.ProducerID, x.Epoch}
				ongoing[of] = append(ongoing[of], tp.Partition)
			}
			open++
		}
	}
	for i, p := range m.partitions {
		for _, o := range p.OpenTxns() {
			require.Contains(t, ongoing[Producer{o.ProducerID, o.Epoch}], int32(i), "the coordinator does not know what is open in partition %d", i)
		}
	}
	// What is open can be ended.
	for _, x := range stored {
		r, ok := m.c.End(x.ID, Producer{x.ProducerID, x.Epoch}, false, true).Wait(t.Context())
		require.True(t, ok)
		require.Nil(t, r.Err)
	}
	for _, p := range m.partitions {
		require.Empty(t, p.OpenTxns())
		require.Equal(t, p.Bounds().HighWatermark, p.Bounds().LastStable)
	}
	return open
}
