package log

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"

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

// modelPartition is what a partition must have after a crash.
type modelPartition struct {
	batches   []batch.Batch // as appended, of this line of the log
	acked     int64         // everything below was acknowledged
	seen      int64         // the highest end that a reader was shown
	trimDone  int64         // a trim to here has returned
	trimTried int64         // a trim to here was begun
	sequences map[int64]int32
}

func (m *modelPartition) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].NextOffset()
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

type promise struct{ acked, seen, trimDone int64 }

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
// byte for byte; what is there is a prefix of what was appended; producers, sizes and batches agree.
func TestCrashes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	const partitions = 3
	var model [partitions]*modelPartition
	var fs *vfs.MemFS
	c := &clock{}
	for cycle := range crashCycles(t) {
		if cycle%50 == 0 { // a new directory now and then, or it only grows
			fs, c = vfs.NewCrashableMem(), &clock{ms: 1_700_000_000_000}
			for i := range model {
				model[i] = &modelPartition{sequences: map[int64]int32{}}
			}
		}
		var mu sync.Mutex // guards the promises within model
		cr := &crasher{mem: fs, rng: rand.New(rand.NewPCG(seed, uint64(cycle)+2)), left: 1 + rng.IntN(200), model: func() (list []promise) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range model {
				list = append(list, promise{m.acked, m.seen, m.trimDone})
			}
			return list
		}}
		if rng.IntN(4) == 0 {
			cr.left = -1
		}
		tail := []int64{-1, 2000, 0}[rng.IntN(3)]
		n := openNode(t, nodeConfig{fs: cr.fs(), clock: c, seed: seed, partitions: partitions, memTable: 256 << 10, log: Config{TailBytes: tail}})
		for i, m := range model {
			p := n.parts[i]
			recovered(t, p, m, &mu)
			defer p.Watch(func() { // a reader that sees everything at the first possible moment
				mu.Lock()
				defer mu.Unlock()
				m.seen = max(m.seen, p.Bounds().HighWatermark)
			})()
		}
		workload(t, n, model[:], &mu, rng, c)
		cr.mu.Lock()
		if cr.image == nil {
			cr.takeLocked()
		}
		fs = cr.image
		cr.mu.Unlock()
		n.abandon()
		for i, m := range model {
			m.acked, m.seen, m.trimDone = cr.promise[i].acked, cr.promise[i].seen, cr.promise[i].trimDone
		}
	}
}

// recovered compares a partition after a crash with the model, and cuts the model to what is left. promises guards what is promised.
func recovered(t *testing.T, p *Partition, m *modelPartition, promises sync.Locker) {
	b := p.Bounds()
	require.GreaterOrEqual(t, b.HighWatermark, m.acked, "acknowledged batches are gone")
	require.GreaterOrEqual(t, b.HighWatermark, m.seen, "a reader has seen what is gone")
	require.LessOrEqual(t, b.HighWatermark, m.end())
	require.GreaterOrEqual(t, b.DeltaStart, m.trimDone)
	require.LessOrEqual(t, b.DeltaStart, m.trimTried)
	for len(m.batches) > 0 && m.end() > b.HighWatermark {
		m.batches = m.batches[:len(m.batches)-1]
	}
	require.Equal(t, m.end(), b.HighWatermark, "a part of a batch")
	var kept []batch.Batch
	for _, x := range m.batches {
		if x.NextOffset() > b.DeltaStart {
			kept = append(kept, x)
		}
	}
	got := readAll(t, p, b.DeltaStart, 5000)
	require.Equal(t, len(kept), len(got))
	for i := range kept {
		require.True(t, bytes.Equal(kept[i], got[i]), "batch at %d", kept[i].BaseOffset())
	}
	sizeIs(t, p)
	promises.Lock() // Pebble writes in the background already, and a crash may come
	m.acked, m.seen, m.trimDone, m.trimTried = b.HighWatermark, b.HighWatermark, b.DeltaStart, b.DeltaStart
	promises.Unlock()

	// Producers are exactly as far as their batches in the log.
	clear(m.sequences)
	last := map[int64]int64{}
	for _, x := range m.batches {
		m.sequences[x.ProducerID()] = x.LastSequence() + 1
		last[x.ProducerID()] = x.LastOffset()
	}
	states := p.ProducerStates()
	require.Len(t, states, len(last))
	for _, s := range states {
		require.Equal(t, last[s.ProducerID], s.LastOffset)
		require.Equal(t, m.sequences[s.ProducerID]-1, s.LastSequence)
	}
}

func workload(t *testing.T, n *node, model []*modelPartition, mu *sync.Mutex, rng *rand.Rand, c *clock) {
	var waiting []*Appended
	var of []*modelPartition
	settle := func() {
		for i, a := range waiting {
			require.NoError(t, a.Wait(t.Context()))
			mu.Lock()
			of[i].acked = max(of[i].acked, a.LastOffset+1)
			mu.Unlock()
		}
		waiting, of = nil, nil
	}
	for range 5 + rng.IntN(40) {
		i := rng.IntN(len(model))
		p, m := n.parts[i], model[i]
		switch k := rng.IntN(20); {
		case k < 14:
			c.ms += int64(rng.IntN(3))
			pid := int64(1 + rng.IntN(3))
			r := rec{n: 1 + rng.IntN(5), ts: c.ms, size: rng.IntN(2000), pid: pid, sequence: m.sequences[pid], tag: rng.IntN(1000)}
			b := r.batch(t)
			a, err := p.Append(b)
			require.NoError(t, err)
			require.False(t, a.Duplicate)
			m.sequences[pid] += int32(r.n)
			m.batches = append(m.batches, b)
			waiting, of = append(waiting, a), append(of, m)
		case k < 16:
			settle()
		case k < 18:
			b := p.Bounds()
			if b.HighWatermark > b.DeltaStart {
				readAll(t, p, b.DeltaStart+rng.Int64N(b.HighWatermark-b.DeltaStart), 3000)
			}
			mu.Lock()
			m.seen = max(m.seen, b.HighWatermark)
			mu.Unlock()
		default:
			b := p.Bounds()
			to := b.DeltaStart + rng.Int64N(b.HighWatermark-b.DeltaStart+1)
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
}

// A crash at each write of a trim, with the compaction that follows it: the log is as before or as after,
// never anything else.
func TestCrashAtEveryWriteOfATrim(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for at := 1; ; at++ {
		mem, c := vfs.NewCrashableMem(), &clock{ms: 1_700_000_000_000}
		m := &modelPartition{sequences: map[int64]int32{}}
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
