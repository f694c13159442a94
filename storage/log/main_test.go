package log

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is moved by hand. Only one goroutine moves it.
type clock struct{ ms int64 }

func (c *clock) Now() time.Time { return time.UnixMilli(c.ms) }

// node is one run of a store on a data directory.
type node struct {
	t     testing.TB
	fs    vfs.FS
	dir   *engine.Dir
	cat   *catalog.Catalog
	store *Store
	parts []*Partition
}

type nodeConfig struct {
	fs         vfs.FS
	clock      *clock
	seed       uint64
	partitions int
	log        Config
	memTable   int64
	fatal      func(string)
}

// openNode opens everything as the broker does; the first time it creates the topic.
func openNode(t testing.TB, c nodeConfig) *node {
	n, err := tryOpenNode(t, c)
	require.NoError(t, err)
	return n
}

func tryOpenNode(t testing.TB, c nodeConfig) (_ *node, err error) {
	if c.fs == nil {
		c.fs = vfs.NewMem() // and never the machine's
	}
	if c.clock == nil {
		c.clock = &clock{ms: 1_700_000_000_000}
	}
	if c.memTable == 0 {
		c.memTable = 1 << 20
	}
	if c.fatal == nil {
		c.fatal = func(msg string) { panic(msg) }
	}
	dir, err := engine.OpenDir(engine.Config{Dir: "/data", FS: c.fs, Now: c.clock.Now, MemTableBytes: c.memTable, CacheBytes: 1 << 20, Fatal: c.fatal})
	if err != nil {
		return nil, err
	}
	n := &node{t: t, fs: c.fs, dir: dir}
	defer func() {
		if err != nil {
			n.abandon()
		}
	}()
	db, err := dir.OpenLogDB()
	if err != nil {
		return nil, err
	}
	random := rand.NewChaCha8([32]byte{byte(c.seed), 1})
	if n.cat, err = catalog.Open(db, c.clock.Now, random); err != nil {
		return nil, err
	}
	c.log.DB, c.log.Blobs, c.log.Now, c.log.Fatal = db, dir, c.clock.Now, dir.Fatal
	if c.log.LeaderEpoch, err = n.cat.BeginEpoch(); err != nil {
		return nil, err
	}
	topic, ok := n.cat.Get("t")
	if !ok {
		if topic, err = n.cat.Create(catalog.Spec{Name: "t", Partitions: max(1, c.partitions)}); err != nil {
			return nil, err
		}
	}
	if n.store, err = Open(c.log); err != nil {
		return nil, err
	}
	for _, meta := range topic.Partitions {
		p, err := n.store.OpenPartition(PartitionID(meta.Ordinal), meta)
		if err != nil {
			return nil, err
		}
		n.parts = append(n.parts, p)
	}
	return n, nil
}

func (n *node) close() {
	require.NoError(n.t, n.store.Close())
	require.NoError(n.t, n.dir.Close())
}

// abandon ends the run after its file system has failed or was replaced by a crash image; errors are of no interest.
func (n *node) abandon() {
	if n.store != nil {
		_ = n.store.Close()
	}
	_ = n.dir.Close()
}

// rec is a batch to be made.
type rec struct {
	n        int   // records, default 1
	ts       int64 // of the first record; each further is one later
	size     int   // of each value
	pid      int64 // 0: none
	epoch    int16
	sequence int32
	tag      int // makes the bytes differ
	txn      bool
}

func (r rec) batch(t testing.TB) batch.Batch {
	opts := batch.NewOptions()
	if r.pid != 0 {
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = r.pid, r.epoch, r.sequence, r.txn
	}
	b := batch.NewBuilder(opts)
	for i := range max(1, r.n) {
		value := bytes.Repeat([]byte{byte(r.tag)}, max(r.size, 8))
		copy(value, fmt.Sprintf("%08d", r.tag))
		require.NoError(t, b.Append(batch.Record{Offset: int64(i), Timestamp: r.ts + int64(i), Key: []byte("k"), Value: value}))
	}
	out, err := b.Finish()
	require.NoError(t, err)
	require.NoError(t, out.Validate())
	return out
}

func appendWait(t testing.TB, p *Partition, r rec) *Appended {
	t.Helper()
	a, err := p.Append(r.batch(t))
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	return a
}

// readAll reads the partition from an offset to the high watermark, in steps of maxBytes.
func readAll(t testing.TB, p *Partition, from int64, maxBytes int) (list []batch.Batch) {
	t.Helper()
	for end := p.Bounds().HighWatermark; from < end; {
		out, next, err := p.Read(from, end, maxBytes, nil)
		require.NoError(t, err)
		require.Greater(t, next, from)
		for len(out) > 0 {
			b, rest, err := batch.Split(out)
			require.NoError(t, err)
			list, out = append(list, b), rest
		}
		from = next
	}
	return list
}

const (
	waitLimit = time.Minute // a guard, twenty times what it takes
	pollEvery = 5 * time.Millisecond
)
