package log

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

const (
	benchPartitions = 16
	benchWriters    = 4
	benchBatch      = 64 << 10
	benchKeep       = 64 << 20 // raw bytes kept a partition
	benchStep       = 16 << 20 // trimmed at once
)

// BenchmarkAppendSettled appends 64 KiB batches to 16 partitions from 4 writers while it trims to 64 MiB a partition, until
// compactions and dirty pages are done, and the same bytes to raw files beside it, without trimming. Every append of the
// log is synced (group commit, writers do not wait for it); the raw files are synced once, at the end.
// Medians of all runs, but for the disk's use and the seconds to free it: the worst. KEYFRAME_BENCH_BYTES: bytes a run, default 4 GiB;
// KEYFRAME_BENCH_MEMTABLE: bytes.
func BenchmarkAppendSettled(b *testing.B) {
	total := envInt(b, "KEYFRAME_BENCH_BYTES", 4<<30)
	pool := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(pool)
	var raws, logs []benchResult
	var ratios []float64
	for b.Loop() { // in turn, so that both see the same moods of the machine
		raw, log := rawAppend(b, b.TempDir(), total, pool), logAppend(b, b.TempDir(), total, pool)
		raws, logs, ratios = append(raws, raw), append(logs, log), append(ratios, raw.wall/log.wall)
	}
	bytes := float64(total)
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(bytes/1e6/medianOf(raws, func(r benchResult) float64 { return r.wall }), "raw-MB/s")
	b.ReportMetric(bytes/1e6/medianOf(logs, func(r benchResult) float64 { return r.wall }), "MB/s")
	b.ReportMetric(medianOf(raws, func(r benchResult) float64 { return r.cpu })/(bytes/1e9), "raw-cpu-s/GB")
	b.ReportMetric(medianOf(logs, func(r benchResult) float64 { return r.cpu })/(bytes/1e9), "cpu-s/GB")
	b.ReportMetric(maxOf(logs, func(r benchResult) float64 { return r.diskPeak }), "disk/live-max")
	b.ReportMetric(maxOf(logs, func(r benchResult) float64 { return r.diskPeakNoWAL }), "disk-wal/live-max")
	b.ReportMetric(maxOf(logs, func(r benchResult) float64 { return r.spaceBack }), "s-to-free-max")
	b.ReportMetric(medianOf(logs, func(r benchResult) float64 { return r.allocs }), "allocs/batch")
	b.ReportMetric(0, "ns/op")
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func medianOf(list []benchResult, of func(benchResult) float64) float64 {
	figures := make([]float64, len(list))
	for i, r := range list {
		figures[i] = of(r)
	}
	return median(figures)
}

func maxOf(list []benchResult, of func(benchResult) float64) (m float64) {
	for _, r := range list {
		m = max(m, of(r))
	}
	return m
}

type benchResult struct {
	wall, cpu, diskPeak, diskPeakNoWAL, spaceBack, allocs float64
}

func rawAppend(b *testing.B, dir string, total int, pool []byte) (r benchResult) {
	start, cpu := time.Now(), cpuSeconds(b)
	var files [benchPartitions]*os.File
	for i := range files {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		require.NoError(b, err)
		files[i] = f
	}
	eachBatch(total, func(i int) {
		at := (i * 4099 * 16) % (len(pool) - benchBatch)
		if _, err := files[i%benchPartitions].Write(pool[at : at+benchBatch]); err != nil {
			b.Error(err)
		}
	})
	for _, f := range files {
		require.NoError(b, f.Sync())
		require.NoError(b, f.Close())
	}
	r.wall, r.cpu = time.Since(start).Seconds(), cpuSeconds(b)-cpu
	require.NoError(b, os.RemoveAll(dir))
	return r
}

// eachBatch calls write from benchWriters goroutines, each with its own partitions, so that a partition has one writer.
func eachBatch(total int, write func(i int)) {
	var wg sync.WaitGroup
	for w := range benchWriters {
		wg.Go(func() {
			for i := w; i < total/benchBatch; i += benchWriters {
				write(i)
			}
		})
	}
	wg.Wait()
}

func logAppend(b *testing.B, dir string, total int, pool []byte) (r benchResult) {
	start, cpu := time.Now(), cpuSeconds(b)
	d, err := engine.OpenDir(engine.Config{Dir: dir, MemTableBytes: int64(envInt(b, "KEYFRAME_BENCH_MEMTABLE", 0))})
	require.NoError(b, err)
	db, err := d.OpenLogDB()
	require.NoError(b, err)
	store, err := Open(Config{DB: db, Reserve: d.Reserve(), Fatal: d.Fatal})
	require.NoError(b, err)
	var parts [benchPartitions]*Partition
	for i := range parts {
		parts[i], err = store.OpenPartition(PartitionID(i), catalog.Partition{Ordinal: uint32(i)})
		require.NoError(b, err)
	}
	header := benchHeader(b)
	stop, stopped := make(chan struct{}), make(chan struct{})
	var peak, peakNoWAL atomic.Int64 // thousandths
	go func() {
		defer close(stopped)
		trimLoop(b, parts[:], stop, func() { sampleDisk(dir, parts[:], int64(total), &peak, &peakNoWAL) })
	}()
	mallocs := mallocCount()
	eachBatch(total, func(i int) {
		at := (i * 4099 * 16) % (len(pool) - benchBatch)
		x := make(batch.Batch, benchBatch) // as a request's frame would be
		copy(x[copy(x, header):], pool[at:])
		if _, err := parts[i%benchPartitions].Append(x); err != nil {
			b.Error(err)
		}
	})
	r.allocs = float64(mallocCount()-mallocs) / float64(total/benchBatch)
	for _, p := range parts {
		require.Eventually(b, func() bool { bs := p.Bounds(); return bs.HighWatermark == bs.LogEnd }, time.Minute, time.Millisecond)
	}
	close(stop)
	<-stopped
	require.NoError(b, db.Flush())
	for busy := 3; busy > 0; busy-- { // three quiet looks in a row
		if m := db.Metrics(); m.Compact.NumInProgress > 0 || m.Flush.NumInProgress > 0 {
			busy = 4
		}
		time.Sleep(20 * time.Millisecond)
	}
	syncTree(b, dir)
	r.wall, r.cpu = time.Since(start).Seconds(), cpuSeconds(b)-cpu
	r.diskPeak, r.diskPeakNoWAL = float64(peak.Load())/1000, float64(peakNoWAL.Load())/1000
	r.spaceBack = freeAll(b, dir, parts[:])
	require.NoError(b, store.Close())
	require.NoError(b, d.Close())
	return r
}

// freeAll trims to 4 MiB a partition, 64 MiB in all, and waits until the disk, recycled write-ahead log apart, shows it.
func freeAll(b *testing.B, dir string, parts []*Partition) float64 {
	start := time.Now()
	for _, p := range parts {
		require.NoError(b, p.TrimTo(context.Background(), p.Bounds().HighWatermark-(4<<20)/benchBatch))
	}
	for time.Since(start) < 20*time.Second {
		if all, wal := diskBytes(dir); all-wal < 160<<20 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(start).Seconds()
}

func trimLoop(b *testing.B, parts []*Partition, stop chan struct{}, sample func()) {
	last := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
		for _, p := range parts {
			if p.SizeBytes() >= benchKeep+benchStep {
				if err := p.TrimTo(context.Background(), p.Bounds().HighWatermark-benchKeep/benchBatch); err != nil {
					b.Error(err)
				}
			}
		}
		if time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			sample()
		}
	}
}

// sampleDisk looks from the moment on at which trimming has set in.
func sampleDisk(dir string, parts []*Partition, total int64, peak, peakNoWAL *atomic.Int64) {
	live := int64(0)
	for _, p := range parts {
		live += p.SizeBytes()
	}
	if live < benchPartitions*benchKeep {
		return
	}
	all, wal := diskBytes(dir)
	peak.Store(max(peak.Load(), 1000*all/live))
	peakNoWAL.Store(max(peakNoWAL.Load(), 1000*(all-wal)/live))
}

func diskBytes(dir string) (all, wal int64) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() { // files vanish while we look
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		n := info.Size()
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			n = st.Blocks * 512
		}
		all += n
		if filepath.Ext(path) == ".log" {
			wal += n
		}
		return nil
	})
	return all, wal
}

func syncTree(b *testing.B, dir string) {
	_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if f, err := os.Open(path); err == nil {
			_ = f.Sync()
			_ = f.Close()
		}
		return nil
	})
}

// benchHeader is the header of a batch of one record; the record is noise, which the log does not look at.
func benchHeader(b *testing.B) []byte {
	builder := batch.NewBuilder(batch.NewOptions())
	require.NoError(b, builder.Append(batch.Record{Value: make([]byte, benchBatch-batch.HeaderSize-20)}))
	x, err := builder.Finish()
	require.NoError(b, err)
	header := append([]byte(nil), x[:batch.HeaderSize]...)
	size := uint32(benchBatch - 12)
	copy(header[8:], []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	return header
}

func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}

func envInt(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(b, err)
	return n
}

func mallocCount() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}
