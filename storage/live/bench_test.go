package live_test

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// benchWorld is a partition on the table database of a broker.
func benchWorld(b *testing.B) *world {
	dir := b.TempDir()
	d, err := engine.OpenDir(engine.Config{Dir: dir})
	require.NoError(b, err)
	pdb, options, err := d.OpenTableDB()
	require.NoError(b, err)
	w := &world{pdb: pdb}
	w.db, err = table.Open(table.Config{DB: pdb, Options: options, FS: vfs.Default, Dir: dir + "/ingest"})
	require.NoError(b, err)
	tab, err := w.db.Table(1, table.Identity{Fold: fold.LastValue})
	require.NoError(b, err)
	w.p = live.New(tab, live.Config{MaxIntervalBytes: 1 << 30})
	b.Cleanup(func() {
		require.NoError(b, w.db.Close())
		require.NoError(b, d.Close())
	})
	return w
}

func benchBatch(b *testing.B, rng *rand.Rand, base int64, n int, id func() uint64) batch.Batch {
	opts := batch.NewOptions()
	opts.BaseOffset = base
	x := batch.NewBuilder(opts)
	value := make([]byte, 100)
	for i := range n {
		h := id()
		key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h*0x9E3779B97F4A7C15), h)
		binary.BigEndian.PutUint64(value, rng.Uint64())
		require.NoError(b, x.Append(batch.Record{Offset: base + int64(i), Timestamp: 1700000000000, Key: key, Value: value}))
	}
	finished, err := x.Finish()
	require.NoError(b, err)
	return finished
}

// BenchmarkHotSet applies batches of 1,000 deltas to 10,000 keys of a table of 1 M rows, and folds, cuts and trims every 100,000, 16 frames
// kept; one core.
func BenchmarkHotSet(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w := benchWorld(b)
	rng := rand.New(rand.NewPCG(1, 2))
	position := int64(0)
	fold := func() {
		f, finish, ok := w.p.StartFold(true)
		require.True(b, ok)
		finish(w.db.Commit(background, []table.Fold{f}))
		if frames := f.Table.Frames(); len(frames) > 16 {
			require.NoError(b, f.Table.Trim(background, frames[1].Cut))
		}
	}
	next := uint64(0)
	for range 1000 {
		x := benchBatch(b, rng, position, 1000, func() uint64 { next++; return next })
		position += 1000
		require.NoError(b, w.p.Apply(x))
	}
	fold()
	hot := func() uint64 { return 1 + rng.Uint64N(10_000)*97 }
	batches := make([]batch.Batch, 100)
	n := 0
	used := time.Duration(0)
	for b.Loop() {
		b.StopTimer()
		for i := range batches {
			batches[i] = benchBatch(b, rng, position, 1000, hot)
			position += 1000
		}
		b.StartTimer()
		begin := cpu(b)
		for _, x := range batches {
			require.NoError(b, w.p.Apply(x))
			n += 1000
		}
		fold()
		settle(w) // else compactions would run while the next batches are made, unpaid
		used += cpu(b) - begin
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deltas/s")
	b.ReportMetric(float64(n)/used.Seconds(), "deltas/cpu-s")
}

// settle waits until no compaction runs any more.
func settle(w *world) {
	for idle := 0; idle < 4; time.Sleep(time.Millisecond) {
		if w.pdb.Metrics().Compact.NumInProgress > 0 {
			idle = 0
		} else {
			idle++
		}
	}
}

// cpu returns the process's CPU time: on a machine that others use too, it says more than the clock.
func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkApply collapses deltas of 1 M keys, without folding.
func BenchmarkApply(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var batches []batch.Batch
	for i := range int64(1000) {
		batches = append(batches, benchBatch(b, rng, i*1000, 1000, func() uint64 { return rng.Uint64N(1_000_000) }))
	}
	w := benchWorld(b)
	b.ReportAllocs()
	n, begin := 0, cpu(b)
	for b.Loop() {
		p := live.New(w.p.Table(), live.Config{MaxIntervalBytes: 1 << 30})
		for _, x := range batches {
			require.NoError(b, p.Apply(x))
			n += 1000
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deltas/s")
	b.ReportMetric(float64(n)/(cpu(b)-begin).Seconds(), "deltas/cpu-s")
}

func BenchmarkGet(b *testing.B) {
	w := benchWorld(b)
	rng := rand.New(rand.NewPCG(1, 2))
	next := uint64(0)
	for i := range int64(100) {
		require.NoError(b, w.p.Apply(benchBatch(b, rng, i*1000, 1000, func() uint64 { next++; return next })))
	}
	f, finish, _ := w.p.StartFold(true)
	finish(w.db.Commit(background, []table.Fold{f}))
	for b.Loop() {
		h := 1 + rng.Uint64N(100_000)
		key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, h*0x9E3779B97F4A7C15), h)
		_, _, ok, err := w.p.Get(key)
		require.NoError(b, err)
		require.True(b, ok)
	}
}
