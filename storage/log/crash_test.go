package log

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

// crashCycles is how often the crash test crashes: KEYFRAME_CRASH_CYCLES, default 300.
func crashCycles(t *testing.T) int {
	text := os.Getenv("KEYFRAME_CRASH_CYCLES")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// crasher takes an image of the file system as of some write, together with what was promised just before it.
type crasher struct {
	mem *vfs.MemFS
	rng *rand.Rand

	mu      sync.Mutex
	left    int // writes until the crash; negative: never
	model   func() []promise
	image   *vfs.MemFS
	promise []promise
}

type promise struct{ acked, seen, trimDone, stable int64 }

func (c *crasher) fs() vfs.FS {
	return errorfs.Wrap(c.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			c.count()
		}
		return nil
	}))
}

func (c *crasher) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 && c.image == nil {
		c.takeLocked()
	}
}

func (c *crasher) takeLocked() {
	c.promise = c.model() // before the image: what comes later need not be in it
	c.image = c.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: []int{0, 0, 25, 50, 75, 100}[c.rng.IntN(6)], RNG: c.rng})
}

// Crash after crash on one data directory: whatever was acknowledged or shown to a reader is there,
// byte for byte; what is there is a prefix of what was appended; producers, transactions, sizes and batches agree, and a
// transaction has ended everywhere or nowhere.
func TestCrashes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	const partitions = 3
	var model [partitions]*modelPartition
	var fs *vfs.MemFS
	var endings []ending
	c := &clock{}
	for cycle := range crashCycles(t) {
		if cycle%50 == 0 { // a new directory now and then, or it only grows
			fs, c = vfs.NewCrashableMem(), &clock{ms: 1_700_000_000_000}
			for i := range model {
				model[i] = newModelPartition()
			}
			endings = nil
		}
		var mu sync.Mutex // guards the promises within model
		cr := &crasher{mem: fs, rng: rand.New(rand.NewPCG(seed, uint64(cycle)+2)), left: 1 + rng.IntN(200), model: func() (list []promise) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range model {
				list = append(list, promise{m.acked, m.seen, m.trimDone, m.stable})
			}
			return list
		}}
		if rng.IntN(4) == 0 {
			cr.left = -1
		}
		tail := []int64{-1, 2000, 0}[rng.IntN(3)]
		n := openNode(t, nodeConfig{fs: cr.fs(), clock: c, seed: seed, partitions: partitions, memTable: 256 << 10, log: Config{TailBytes: tail}})
		whole(t, n, endings)
		for i, m := range model {
			p := n.parts[i]
			recovered(t, p, m, &mu)
			// What such a partition shows is no promise, but what it has synced is, and what others were promised.
			m.unsynced = rng.IntN(3) == 0
			p.ShowUnsynced(m.unsynced)
			defer p.Watch(func() { // a reader that sees everything at the first possible moment
				mu.Lock()
				defer mu.Unlock()
				m.see(p.Bounds())
			})()
		}
		endings = workload(t, n, model[:], &mu, rng, c)
		cr.mu.Lock()
		if cr.image == nil {
			cr.takeLocked()
		}
		fs = cr.image
		cr.mu.Unlock()
		n.abandon()
		for i, m := range model {
			was := cr.promise[i]
			m.acked, m.seen, m.trimDone, m.stable = was.acked, was.seen, was.trimDone, was.stable
		}
	}
}

func workload(t *testing.T, n *node, model []*modelPartition, mu *sync.Mutex, rng *rand.Rand, c *clock) (endings []ending) {
	var waiting []*Appended
	var ends [][]int64 // of all partitions, when the append was made
	settle := func() {
		for i, a := range waiting {
			require.NoError(t, a.Wait(t.Context()))
			mu.Lock()
			for k, m := range model {
				m.acked = max(m.acked, ends[i][k])
			}
			mu.Unlock()
		}
		waiting, ends = nil, nil
	}
	appended := func(a *Appended) {
		now := make([]int64, len(model))
		for k, m := range model {
			now[k] = m.end()
		}
		waiting, ends = append(waiting, a), append(ends, now)
	}
	for range 5 + rng.IntN(40) {
		i := rng.IntN(len(model))
		p, m := n.parts[i], model[i]
		switch k := rng.IntN(20); {
		case k < 12:
			c.ms += int64(rng.IntN(3))
			pid := int64(1 + rng.IntN(4)) // 3 and 4 write in transactions
			last := m.producer(pid)
			r := rec{n: 1 + rng.IntN(5), ts: c.ms, size: rng.IntN(2000), pid: pid, tag: rng.IntN(1000), txn: pid > 2, epoch: epochOf(model, pid)}
			if r.epoch == last.Epoch {
				r.sequence = last.LastSequence + 1
			}
			b := r.batch(t)
			a, err := p.Append(b)
			require.NoError(t, err)
			require.False(t, a.Duplicate)
			m.add(t, b)
			if m.unsynced {
				<-a.Done() // at once, and no promise
				require.Equal(t, b.NextOffset(), p.Bounds().HighWatermark)
				break
			}
			appended(a)
		case k < 14:
			a, e := endSome(t, n, model, rng, c)
			endings = append(endings, e)
			appended(a)
		case k < 16:
			settle()
		case k < 18:
			b := p.Bounds()
			if b.HighWatermark > b.DeltaStart {
				readAll(t, p, b.DeltaStart+rng.Int64N(b.HighWatermark-b.DeltaStart), 3000)
			}
			mu.Lock()
			m.see(b)
			mu.Unlock()
			sameAborted(t, p, m)
		default:
			b := p.Bounds()
			to := b.DeltaStart + rng.Int64N(b.LastStable-b.DeltaStart+1)
			mu.Lock()
			m.trimTried = max(m.trimTried, to)
			mu.Unlock()
			require.NoError(t, p.TrimTo(t.Context(), to))
			mu.Lock()
			m.trimDone = max(m.trimDone, p.Bounds().DeltaStart)
			mu.Unlock()
		}
	}
	if rng.IntN(2) == 0 {
		settle()
	}
	return endings
}

// endSome ends a producer's transaction in all its partitions, or where there is none: by the older protocol or by transaction.version 2.
func endSome(t *testing.T, n *node, model []*modelPartition, rng *rand.Rand, c *clock) (*Appended, ending) {
	pid := int64(3 + rng.IntN(2))
	m := Marker{ProducerID: pid, ProducerEpoch: epochOf(model, pid), CoordinatorEpoch: 1, Commit: rng.IntN(2) == 0, Bumped: rng.IntN(2) == 0}
	if m.Bumped {
		m.ProducerEpoch++
	}
	e := ending{markers: map[int]int64{}, key: fmt.Appendf(nil, "Cend-%d-%d", n.store.cfg.LeaderEpoch, rng.Uint64())}
	var parts []*Partition
	for i, x := range model {
		if x.producer(pid).TxnFirstOffset < 0 && rng.IntN(4) > 0 {
			continue
		}
		b := batch.EndTxn{ProducerID: pid, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: 1, Commit: m.Commit}.Batch(c.ms)
		b.Stamp(x.end(), n.store.cfg.LeaderEpoch)
		e.markers[i] = b.BaseOffset()
		x.add(t, b)
		parts = append(parts, n.parts[i])
	}
	rng.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	a, err := n.store.AppendMarkers(parts, m, func(pb *pebble.Batch) error { return pb.Set(e.key, []byte("x"), nil) })
	require.NoError(t, err)
	return a, e
}

// A crash at each write of a trim, with the compaction that follows it: the log is as before or as after,
// never anything else.
func TestCrashAtEveryWriteOfATrim(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for at := 1; ; at++ {
		mem, c := vfs.NewCrashableMem(), &clock{ms: 1_700_000_000_000}
		m := newModelPartition()
		cr := &crasher{mem: mem, rng: rand.New(rand.NewPCG(seed, uint64(at)+2)), left: -1, model: func() []promise { return nil }}
		n := openNode(t, nodeConfig{fs: cr.fs(), clock: c, memTable: 256 << 10, log: Config{TailBytes: -1}})
		p := n.parts[0]
		for i := range 40 {
			b := rec{n: 3, pid: 1, sequence: int32(3 * i), size: 3000, tag: i}.batch(t)
			m.batches = append(m.batches, b)
			a, err := p.Append(b)
			require.NoError(t, err)
			require.NoError(t, a.Wait(t.Context()))
		}
		require.NoError(t, p.TrimTo(t.Context(), 15))
		m.acked, m.seen, m.trimDone, m.trimTried = 120, 120, 15, 100
		cr.mu.Lock()
		cr.left = at
		cr.mu.Unlock()
		require.NoError(t, p.TrimTo(t.Context(), 100))
		n.store.compactor.compact(t.Context())
		cr.mu.Lock()
		done := cr.image == nil // the trim has fewer writes than that
		if done {
			cr.takeLocked()
			m.trimDone = 100
		}
		cr.mu.Unlock()
		n.abandon()
		n = openNode(t, nodeConfig{fs: cr.image, clock: c})
		require.Contains(t, []int64{15, 100}, n.parts[0].Bounds().DeltaStart)
		recovered(t, n.parts[0], m, &sync.Mutex{})
		n.close()
		if done {
			t.Logf("%d writes", at-1)
			return
		}
	}
}
