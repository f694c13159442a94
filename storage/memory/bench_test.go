package memory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

const benchRows = 1_000_000

func benchKey(i int) []byte { return fmt.Appendf(nil, "key-%012d", i) }

// benchFrame is a frame of 1 M rows with keys of 16 and values of 100 bytes.
func benchFrame(b *testing.B) []byte {
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	var out bytes.Buffer
	w := frame.NewWriter(&out, frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: benchRows, Since: -1, Fold: fold.LastValue})
	var h digest.Hasher
	var d digest.Digest
	for i := range benchRows {
		row := frame.Row{Key: benchKey(i), Value: noise[(i*7919)%(len(noise)-100):][:100], Offset: int64(i), Timestamp: 1_700_000_000_000 + int64(i)}
		d.Add(h.Entry(row.Key, row.Value))
		require.NoError(b, w.Append(&row))
	}
	pub := d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: benchRows})
	require.NoError(b, w.Close(frame.Footer{Digest: d, Rows: benchRows, Pub: pub}))
	return out.Bytes()
}

func benchTable(b *testing.B) *memory.Table {
	t, _, err := memory.Load(bytes.NewReader(benchFrame(b)), memory.Config{})
	require.NoError(b, err)
	return t
}

func BenchmarkLoadMemory(b *testing.B) {
	encoded := benchFrame(b)
	b.SetBytes(int64(len(encoded)))
	before := cpuTime(b)
	for b.Loop() {
		r, err := frame.NewReader(bytes.NewReader(encoded), 0)
		require.NoError(b, err)
		r.Expect(benchRows, int64(len(encoded)))
		_, _, err = memory.LoadFrom(r, memory.Config{})
		require.NoError(b, err)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(benchRows*b.N), "cpu-ns/row")
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// cpuTime is what the process has used of all cores, for a machine that has others to serve as well.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkGet(b *testing.B) {
	t := benchTable(b)
	keys := make([][]byte, 1<<16)
	for i := range keys {
		keys[i] = benchKey(rand.IntN(benchRows))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, ok := t.Get(keys[i&(1<<16-1)]); !ok {
			b.Fatal("key is missing")
		}
		i++
	}
}

// BenchmarkApply overwrites random keys of a table of 1 M rows, in runs of 1,000 records.
func BenchmarkApply(b *testing.B) {
	t := benchTable(b)
	value := bytes.Repeat([]byte("v"), 100)
	recs := make([]batch.Record, 1000)
	offset, n := int64(benchRows), 0
	var used time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range recs {
			recs[i] = batch.Record{Offset: offset, Key: benchKey(rand.IntN(benchRows)), Value: value}
			offset++
		}
		b.StartTimer()
		before := cpuTime(b)
		require.NoError(b, t.Apply(recs, offset, nil))
		used += cpuTime(b) - before
		n += len(recs)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deltas/s")
	b.ReportMetric(float64(n)/used.Seconds(), "deltas/cpu-s")
}

// BenchmarkDigestUpkeep is what Apply spends on the digest for each changed row: an entry out, an entry in.
func BenchmarkDigestUpkeep(b *testing.B) {
	var h digest.Hasher
	var d digest.Digest
	key, old, now := benchKey(1), bytes.Repeat([]byte("o"), 100), bytes.Repeat([]byte("n"), 100)
	for b.Loop() {
		d.Sub(h.Entry(key, old))
		d.Add(h.Entry(key, now))
	}
}

func BenchmarkFirstScan(b *testing.B) {
	encoded := benchFrame(b)
	for b.Loop() {
		b.StopTimer()
		t, _, err := memory.Load(bytes.NewReader(encoded), memory.Config{})
		require.NoError(b, err)
		b.StartTimer()
		for range t.Scan(nil, nil) {
			break
		}
	}
}

// A scrub at full speed, and the longest time for which it kept writers out.
func BenchmarkScrub(b *testing.B) {
	t := benchTable(b)
	before := cpuTime(b)
	for b.Loop() {
		s := t.NewScrub()
		for {
			_, found, done := s.Step(256)
			if done {
				require.Equal(b, found.Kept, found.Stored)
				break
			}
		}
	}
	b.ReportMetric(benchRows*float64(b.N)/(cpuTime(b)-before).Seconds(), "rows/cpu-s")
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// A consolidated delta of 20 k of 1 M keys.
func BenchmarkConsolidate(b *testing.B) {
	encoded := benchFrame(b)
	for b.Loop() {
		b.StopTimer()
		t, _, err := memory.Load(bytes.NewReader(encoded), memory.Config{})
		require.NoError(b, err)
		fr := benchDelta(b, t)
		b.StartTimer()
		require.NoError(b, consolidate(t, fr, nil))
	}
}

// A repair of 1,000 keys: every row is hashed.
func BenchmarkPatch(b *testing.B) {
	t := benchTable(b)
	var puts []frame.Row
	for i := range 1000 {
		row, _ := t.Get(benchKey(i * 997))
		puts = append(puts, row)
	}
	want, _ := t.Digest()
	for b.Loop() {
		require.NoError(b, t.Patch(puts, nil, want, nil))
	}
}

// benchDelta overwrites 20 k keys that lie apart.
func benchDelta(b *testing.B, t *memory.Table) *frame.Reader {
	const changed = 20_000
	d, at := t.Digest()
	var out bytes.Buffer
	h := frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: at + changed, Since: at, Fold: fold.LastValue}
	w := frame.NewWriter(&out, h)
	var hasher digest.Hasher
	for i := range changed {
		old, _ := t.Get(benchKey(i * 47))
		row := frame.Row{Key: old.Key, Value: bytes.Repeat([]byte{byte(i)}, 100), Offset: at + int64(i), Timestamp: 1_700_000_000_000}
		d.Sub(hasher.Entry(old.Key, old.Value))
		d.Add(hasher.Entry(row.Key, row.Value))
		require.NoError(b, w.Append(&row))
	}
	pub := d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: h.Cut})
	require.NoError(b, w.Close(frame.Footer{Digest: d, Rows: changed, Pub: pub}))
	fr, err := frame.NewReader(bytes.NewReader(out.Bytes()), 0)
	require.NoError(b, err)
	return fr
}
