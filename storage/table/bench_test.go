package table_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// benchRows is the size of the benchmarks' table: KEYFRAME_BENCH_ROWS, default 1 M rows of 16 + 100 bytes.
func benchRows(b *testing.B) int {
	n, err := strconv.Atoi(cmp.Or(os.Getenv("KEYFRAME_BENCH_ROWS"), "1000000"))
	require.NoError(b, err)
	return n
}

type bench struct {
	b     *testing.B
	s     *store
	t     *table.Table
	rows  int
	next  int64
	noise []byte
	rng   *rand.Rand
}

func newBench(b *testing.B, rows int) *bench { return newBenchOn(b, rows, vfs.Default) }

func newBenchOn(b *testing.B, rows int, fs vfs.FS) *bench {
	dir := b.TempDir()
	var clock int64
	s := &store{fs: fs, clock: &clock, opts: options(fs, false)}
	cache := pebble.NewCache(256 << 20)
	defer cache.Unref()
	s.opts.Cache = cache
	var err error
	s.pdb, err = pebble.Open(dir+"/db", s.opts)
	require.NoError(b, err)
	s.db, err = table.Open(table.Config{DB: s.pdb, Options: s.opts, FS: s.fs, Dir: dir + "/tmp"})
	require.NoError(b, err)
	x := &bench{b: b, s: s, rows: rows, rng: rand.New(rand.NewPCG(1, 2)), noise: make([]byte, 16<<20)}
	_, _ = rand.NewChaCha8([32]byte{1}).Read(x.noise)
	x.t, err = s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(b, err)
	b.Cleanup(func() { s.close(b) })
	return x
}

func keyOf(id uint64) []byte {
	h := id * 0x9E3779B97F4A7C15
	h ^= h >> 29
	h *= 0xBF58476D1CE4E5B9
	k := binary.BigEndian.AppendUint64(make([]byte, 0, 16), h)
	return binary.BigEndian.AppendUint64(k, id)
}

func (x *bench) value() []byte {
	o := x.rng.IntN(len(x.noise) - 100)
	return x.noise[o : o+100]
}

// changes makes one change a key: the last of each key's deltas, in key order.
func (x *bench) changes(ids []uint64) []table.Change {
	type touch struct {
		key    []byte
		offset int64
	}
	touches := make([]touch, len(ids))
	for i, id := range ids {
		touches[i] = touch{keyOf(id), x.next}
		x.next++
	}
	slices.SortFunc(touches, func(a, b touch) int {
		return cmp.Or(bytes.Compare(a.key, b.key), cmp.Compare(a.offset, b.offset))
	})
	deltas := make([]table.Delta, 0, len(ids))
	changes := make([]table.Change, 0, len(ids))
	for i, t := range touches {
		if i+1 < len(touches) && bytes.Equal(touches[i+1].key, t.key) {
			continue
		}
		deltas = append(deltas, table.Delta{Delta: delta.Delta{Op: delta.Put, Key: t.key, Value: x.value()}, Offset: t.offset, Timestamp: t.offset})
		changes = append(changes, table.Change{Key: t.key, Deltas: deltas[len(deltas)-1:]})
	}
	return changes
}

func (x *bench) fill() {
	ids := make([]uint64, x.rows)
	for i, p := range x.rng.Perm(x.rows) {
		ids[i] = uint64(p)
	}
	x.commit(x.changes(ids))
	x.settle()
}

func (x *bench) commit(c []table.Change) {
	require.NoError(x.b, x.s.db.Commit(background, []table.Fold{{Table: x.t, Changes: c, End: x.next, Cut: true}}))
	if f := x.t.Frames(); len(f) > 16 {
		require.NoError(x.b, x.t.Trim(background, f[1].Cut))
	}
}

// settle waits until no compaction runs any more.
func (x *bench) settle() {
	for idle := 0; idle < 4; time.Sleep(time.Millisecond) {
		if x.s.pdb.Metrics().Compact.NumInProgress > 0 {
			idle = 0
		} else {
			idle++
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var r syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkFold folds and cuts, 16 frames kept, one core: digest, undo entries, trims and compactions until settled are in it.
func BenchmarkFold(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	rows := benchRows(b)
	for _, share := range []int{1, 10, 50} {
		b.Run(fmt.Sprintf("touched=%d%%", share), func(b *testing.B) {
			x := newBench(b, rows)
			x.fill()
			n := rows * share / 100
			round := func() (touched int, gen, genCPU time.Duration) {
				t0, c0 := time.Now(), cpu(b)
				ids := make([]uint64, n)
				for i := range ids {
					ids[i] = x.rng.Uint64N(uint64(rows))
				}
				if share == 50 { // exactly half, each once
					for i, p := range x.rng.Perm(rows)[:n] {
						ids[i] = uint64(p)
					}
				}
				c := x.changes(ids)
				gen, genCPU = time.Since(t0), cpu(b)-c0
				x.commit(c)
				// The time of making the next changes is taken out: no compaction may run in it unpaid.
				x.settle()
				return len(c), gen, genCPU
			}
			for range 18 {
				round() // until trims are under way
			}
			x.settle()
			w0 := written(x)
			t0, c0 := time.Now(), cpu(b)
			touched := 0
			for b.Loop() {
				k, gen, genCPU := round()
				touched += k
				t0, c0 = t0.Add(gen), c0+genCPU
			}
			wall, used := time.Since(t0), cpu(b)-c0
			b.ReportMetric(float64(touched)/used.Seconds(), "keys/cpu-s")
			b.ReportMetric(float64(touched)/wall.Seconds(), "keys/s")
			b.ReportMetric((written(x)-w0)/float64(touched*125), "write-amp")
			b.ReportMetric(float64(x.s.pdb.Metrics().DiskSpaceUsage())/float64(rows*125), "disk/live")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func written(x *bench) float64 {
	n := uint64(0)
	for _, l := range x.s.pdb.Metrics().Levels {
		n += l.TableBytesFlushed + l.TableBytesCompacted + l.TableBytesIngested
	}
	return float64(n)
}

// BenchmarkCut cuts a frame with nothing to fold: the same whatever the size of the table.
func BenchmarkCut(b *testing.B) {
	for _, rows := range []int{10_000, 100_000, 1_000_000} {
		if rows > benchRows(b) {
			continue
		}
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			x := newBench(b, rows)
			x.fill()
			for b.Loop() {
				x.next++
				x.commit(nil)
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	x := newBench(b, benchRows(b))
	x.fill()
	for range 8 {
		ids := make([]uint64, x.rows/10)
		for i := range ids {
			ids[i] = x.rng.Uint64N(uint64(x.rows))
		}
		x.commit(x.changes(ids))
	}
	x.settle()
	mid := x.t.Frames()[4].Cut
	scan := func(cut int64, f func(*table.View) int) func(*testing.B) {
		return func(b *testing.B) {
			n := 0
			for b.Loop() {
				v, err := x.t.View(cut)
				require.NoError(b, err)
				n += f(v)
				require.NoError(b, v.Close())
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		}
	}
	offsets := func(v *table.View) (n int) {
		for _, err := range v.Offsets(0, false) {
			require.NoError(b, err)
			n++
		}
		return n
	}
	ordered := func(v *table.View) (n int) {
		for _, err := range v.Scan(nil, nil) {
			require.NoError(b, err)
			n++
		}
		return n
	}
	b.Run("offsets/current", scan(table.Current, offsets))
	b.Run("offsets/frame", scan(mid, offsets))
	b.Run("scrub", scan(mid, func(*table.View) (n int) { // in pieces, as in the background
		s := x.t.ScrubFrame()
		for done := false; !done; {
			p, err := s.Next(context.Background(), 4096)
			require.NoError(b, err)
			n, done = n+p.Rows, p.Done
		}
		return n
	}))
	b.Run("scan/current", scan(table.Current, ordered))
	b.Run("scan/frame", scan(mid, ordered))
	b.Run("get/current", func(b *testing.B) {
		for b.Loop() {
			_, ok, err := x.t.Get(keyOf(x.rng.Uint64N(uint64(x.rows))))
			require.NoError(b, err)
			require.True(b, ok)
		}
	})
	b.Run("get/frame", func(b *testing.B) {
		v, err := x.t.View(mid)
		require.NoError(b, err)
		defer v.Close()
		for b.Loop() {
			_, ok, err := v.Get(keyOf(x.rng.Uint64N(uint64(x.rows))))
			require.NoError(b, err)
			require.True(b, ok)
		}
	})
}

// BenchmarkLoad loads a whole frame, digest checked.
func BenchmarkLoad(b *testing.B) {
	x := newBench(b, benchRows(b))
	id := identity(fold.LastValue, 7)
	var buf bytes.Buffer
	w := frame.NewWriter(&buf, frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: int64(x.rows), Since: -1, Fold: id.Fold})
	var h digest.Hasher
	var d digest.Digest
	for i, p := range x.rng.Perm(x.rows) {
		r := frame.Row{Key: keyOf(uint64(p)), Value: x.value(), Offset: int64(i)}
		d.Add(h.Entry(r.Key, r.Value))
		require.NoError(b, w.Append(&r))
	}
	foot := frame.Footer{Digest: d, Rows: uint64(x.rows)}
	foot.Pub = d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: int64(x.rows)})
	require.NoError(b, w.Close(foot))
	ordinal := uint32(100)
	for b.Loop() {
		r, err := frame.NewReader(bytes.NewReader(buf.Bytes()), 1<<20)
		require.NoError(b, err)
		_, err = x.s.db.Load(background, ordinal, id, r)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, x.s.db.Drop(background, ordinal))
		ordinal++
		b.StartTimer()
	}
	b.ReportMetric(float64(x.rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
