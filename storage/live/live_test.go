package live_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestMain(m *testing.M) {
	// A plain run is short; KEYFRAME_CHECKS asks for more random histories.
	if err := flag.Set("rapid.checks", cmp.Or(os.Getenv("KEYFRAME_CHECKS"), "25")); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var background = context.Background()

// fatal is what require needs of a *testing.T or a *rapid.T.
type fatal interface {
	Errorf(format string, args ...any)
	FailNow()
	Helper()
}

type silent struct{}

func (silent) Infof(string, ...any)         {}
func (silent) Errorf(string, ...any)        {}
func (silent) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

// world is a partition, its log and the oracle's view of it.
type world struct {
	oracle
	batches []batch.Batch
	next    int64
	aborted []log.AbortedTxn

	transactional bool // batches to come

	pdb  *pebble.DB
	db   *table.DB
	p    *live.Partition
	cuts []int64
}

func (w *world) open(t fatal, fs vfs.FS, kind fold.Kind, cfg live.Config) {
	o := &pebble.Options{FS: fs, DisableWAL: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}}
	o.EnsureDefaults()
	var err error
	w.pdb, err = pebble.Open("db", o)
	require.NoError(t, err)
	w.db, err = table.Open(table.Config{DB: w.pdb, Options: o, FS: fs, Dir: "tmp", Limits: table.Limits{RowBytesMax: rowMax}})
	require.NoError(t, err)
	tab, err := w.db.Table(3, table.Identity{Fold: kind})
	require.NoError(t, err)
	w.p = live.New(tab, cfg)
}

func (w *world) close(t fatal) {
	require.NoError(t, w.db.Close())
	require.NoError(t, w.pdb.Close())
}

// produce appends a batch to the log; some begin with offsets of nothing, as after compaction.
func (w *world) produce(t fatal, codec batch.Codec, records []record) {
	opts := batch.NewOptions()
	opts.BaseOffset, opts.Codec = w.next, codec
	if w.transactional {
		opts.Transactional, opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = true, abortedProducer, 0, 0
	}
	b := batch.NewBuilder(opts)
	for i := range records {
		r := &records[i]
		r.offset = w.next
		w.next++
		x := batch.Record{Offset: r.offset, Timestamp: 1000 + r.offset}
		if !r.null {
			x.Key = []byte(r.key)
		}
		if !r.dead {
			x.Value = []byte(r.value)
		}
		if r.op != "" {
			x.Headers = batch.AppendHeaders(nil, batch.Header{Key: "keyframe.op", Value: []byte(r.op)})
		}
		require.NoError(t, b.Append(x))
	}
	w.records = append(w.records, records...)
	finished, err := b.Finish()
	require.NoError(t, err)
	w.batches = append(w.batches, finished)
}

// abort appends a batch whose transaction is aborted, and, some time later, its marker: the oracle sees none of it.
func (w *world) abort(t fatal, codec batch.Codec, records, between []record) {
	seen := len(w.records)
	first := w.next
	w.transactional = true
	w.produce(t, codec, records)
	w.transactional = false
	w.records = w.records[:seen]
	if len(between) > 0 {
		w.produce(t, codec, between)
	}
	marker := batch.EndTxn{ProducerID: abortedProducer}.Batch(1000 + w.next)
	marker.Stamp(w.next, -1)
	w.batches = append(w.batches, marker)
	w.aborted = append(w.aborted, log.AbortedTxn{ProducerID: abortedProducer, FirstOffset: first, LastOffset: w.next})
	w.next++
}

const abortedProducer = 7

// Aborted and Batches make the world a live.Source.
func (w *world) Aborted(int64, int64) ([]log.AbortedTxn, error) { return w.aborted, nil }

func (w *world) Batches(from, end int64, maxBytes int) (list []batch.Batch, err error) {
	for _, b := range w.batches {
		if b.NextOffset() > from && b.BaseOffset() < end && (len(list) == 0 || maxBytes > 0) {
			list = append(list, b)
			maxBytes -= len(b)
		}
	}
	return list, nil
}

// catchUp applies everything that was produced, some of it twice.
func (w *world) catchUp(t fatal) {
	for _, b := range w.batches {
		if log.IsAborted(w.aborted, b) {
			require.NoError(t, w.p.Skip(b))
		} else {
			require.NoError(t, w.p.Apply(b))
		}
	}
	require.Equal(t, w.next, w.p.Position())
}

func drawRecords(t *rapid.T, counter bool) []record {
	records := make([]record, rapid.IntRange(1, 30).Draw(t, "records"))
	for i := range records {
		r := &records[i]
		r.key = fmt.Sprintf("k%d", rapid.IntRange(0, 19).Draw(t, "key"))
		if rapid.IntRange(0, 3).Draw(t, "hot") == 0 {
			r.key = "hot" // its chain grows until the row below is read
		}
		switch rapid.IntRange(0, 9).Draw(t, "what") {
		case 0:
			r.null = true
		case 1, 2:
			r.dead = true
		case 3:
			r.op = "put"
			r.value = "1"
		default:
			r.value = "x"
			if counter {
				r.value = rapid.SampledFrom([]string{"1", "-1", "9223372036854775807", "-9223372036854775808", "not a number"}).Draw(t, "n")
			} else if rapid.IntRange(0, 5).Draw(t, "large") == 0 {
				r.value = strings.Repeat("y", rowMax)
			}
		}
	}
	return records
}

// TestModel compares gets, scans and states at any offset with the oracle, in every phase of a fold.
func TestModel(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := &world{oracle: oracle{counter: kind == fold.Counter}}
				fs := vfs.NewMem()
				w.open(t, fs, kind, live.Config{})
				defer func() { w.close(t) }()
				var f table.Fold
				var finish func(error)
				t.Repeat(map[string]func(*rapid.T){
					"produce": func(t *rapid.T) {
						if finish != nil && f.Start > 0 {
							return // nothing is applied while rows expire
						}
						codec := rapid.SampledFrom([]batch.Codec{batch.None, batch.Zstd}).Draw(t, "codec")
						if rapid.IntRange(0, 2).Draw(t, "abort") == 0 {
							w.abort(t, codec, drawRecords(t, w.counter), drawRecords(t, w.counter))
						} else {
							w.produce(t, codec, drawRecords(t, w.counter))
						}
						w.catchUp(t)
					},
					"start": func(t *rapid.T) {
						if finish != nil {
							_, _, ok := w.p.StartFold(false)
							require.False(t, ok)
							return
						}
						var ok bool
						cut := rapid.Bool().Draw(t, "cut")
						if start := rapid.Int64Range(0, w.p.Position()).Draw(t, "start"); cut && start > w.p.Table().Start() {
							f, finish, ok = w.p.StartCut(start)
							w.produce(t, batch.None, []record{{key: "held", value: "1"}})
							require.ErrorIs(t, w.p.Apply(w.batches[len(w.batches)-1]), live.ErrFull)
							w.retract()
						} else {
							f, finish, ok = w.p.StartFold(cut)
						}
						require.True(t, ok)
					},
					"commit": func(t *rapid.T) { // and, later, finish: readers see both between
						if finish == nil || f.Table.Position() == f.End {
							return
						}
						if f.Table.Position() < f.End {
							require.NoError(t, w.db.Commit(background, []table.Fold{f}))
						}
						w.cutAt(f)
					},
					"finish": func(t *rapid.T) {
						if finish == nil {
							return
						}
						if f.Table.Position() < f.End {
							finish(errors.New("no luck"))
						} else {
							if f.Cut && !slices.Contains(w.cuts, f.End) {
								require.NoError(t, w.db.Commit(background, []table.Fold{{Table: f.Table, End: f.End, Cut: true, Start: f.Start}}))
								w.cutAt(f)
							}
							finish(nil)
						}
						finish = nil
					},
					"restart": func(t *rapid.T) {
						w.close(t)
						w.open(t, fs, kind, live.Config{})
						finish = nil
						require.LessOrEqual(t, w.p.Position(), w.next)
						w.catchUp(t)
					},
					"thin": func(t *rapid.T) { // the moves of the log start at the cut are remembered
						if len(w.cuts) < 3 {
							return
						}
						i := rapid.IntRange(1, len(w.cuts)-1).Draw(t, "frame")
						require.NoError(t, w.p.Table().Thin(background, w.cuts[i]))
						w.cuts = slices.Delete(w.cuts, i, i+1)
					},
					"at": func(t *rapid.T) { w.checkAt(t, rapid.Int64Range(0, w.next).Draw(t, "x")) },
					"":   func(t *rapid.T) { w.check(t) },
				})
				if finish != nil {
					finish(nil)
				}
			})
		})
	}
}

// cutAt notes the cut that was committed.
func (w *world) cutAt(f table.Fold) {
	if !f.Cut || len(w.cuts) > 0 && w.cuts[len(w.cuts)-1] >= f.End {
		return
	}
	w.cuts = append(w.cuts, f.End)
	if f.Start > 0 {
		w.moves = append(w.moves, move{f.End, f.Start})
	}
}

// retract takes the last batch back.
func (w *world) retract() {
	last := w.batches[len(w.batches)-1]
	w.batches, w.next = w.batches[:len(w.batches)-1], last.BaseOffset()
	w.records = w.records[:len(w.records)-int(last.NumRecords())]
}

func (w *world) check(t fatal) {
	s, rejected := w.at(w.next)
	for _, key := range append(slices.Collect(keys(s)), "nothing") {
		r, asOf, ok, err := w.p.Get([]byte(key))
		require.NoError(t, err)
		require.Equal(t, w.next, asOf)
		want, have := s[key]
		require.Equal(t, have && !want.dead, ok, key)
		if ok {
			requireRow(t, want, r)
		}
	}
	for _, x := range [][2]string{{"", ""}, {"k1", ""}, {"k", "k15"}, {"hot", ""}} {
		prefix, after := x[0], x[1]
		want := s.live(func(k string) bool { return strings.HasPrefix(k, prefix) && (after == "" || k > after) })
		asOf, rows, _, err := w.p.Scan([]byte(prefix), cond(after))
		require.NoError(t, err)
		require.Equal(t, w.next, asOf)
		var got []string
		for r, err := range rows {
			require.NoError(t, err)
			requireRow(t, s[string(r.Key)], r)
			got = append(got, string(r.Key))
		}
		require.ElementsMatch(t, want, got)
		require.True(t, slices.IsSorted(got))
	}
	if tab := w.p.Table(); tab.Position() == w.next {
		rejects := tab.Rejected()
		require.Equal(t, rejected, rejects.Total())
		require.Equal(t, digestOf(s), tab.Digest())
	}
}

func cond(after string) []byte {
	if after == "" {
		return nil
	}
	return []byte(after)
}

func keys(s state) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range s {
			if !yield(k) {
				return
			}
		}
	}
}

func digestOf(s state) (d digest.Digest) {
	var h digest.Hasher
	for k, r := range s {
		if !r.dead {
			d.Add(h.Entry([]byte(k), []byte(r.value)))
		}
	}
	return d
}

func requireRow(t fatal, want row, got frame.Row) {
	require.Equal(t, want.value, string(got.Value))
	require.Equal(t, want.offset, got.Offset)
	require.Equal(t, want.dead, got.Tombstone)
	require.Equal(t, 1000+want.offset, got.Timestamp)
}

func (w *world) checkAt(t fatal, x int64) {
	s, _ := w.at(x)
	past, err := w.p.At(background, x, w)
	require.NoError(t, err)
	defer past.Close()
	require.Equal(t, x, past.Offset())
	d, err := past.Digest()
	require.NoError(t, err)
	require.Equal(t, digestOf(s), d)
	for key, want := range s {
		r, ok, err := past.Get([]byte(key))
		require.NoError(t, err)
		require.Equal(t, !want.dead, ok)
		if ok {
			requireRow(t, want, r)
		}
	}
	var got []string
	for r, err := range past.Scan([]byte("k"), []byte("k1")) {
		require.NoError(t, err)
		requireRow(t, s[string(r.Key)], r)
		got = append(got, string(r.Key))
	}
	require.ElementsMatch(t, s.live(func(k string) bool { return strings.HasPrefix(k, "k") && k > "k1" }), got)
	require.True(t, slices.IsSorted(got))
	for _, from := range []int64{0, x / 2} {
		last, n := from-1, 0
		for r, err := range past.Export(from, true) {
			require.NoError(t, err)
			require.Greater(t, r.Offset, last)
			last = r.Offset
			requireRow(t, s[string(r.Key)], r)
			n++
		}
		want := 0
		for _, r := range s {
			if r.offset >= from {
				want++
			}
		}
		require.Equal(t, want, n)
	}
}

// The leader epoch of the last batch is stored with the position, whether anything was folded or not.
func TestLeaderEpoch(t *testing.T) {
	fs := vfs.NewMem()
	w := &world{}
	w.open(t, fs, fold.LastValue, live.Config{})
	require.Equal(t, int32(-1), w.p.LeaderEpoch())
	w.produce(t, batch.None, []record{{key: "a", value: "1"}})
	w.batches[0].Stamp(0, 4)
	require.NoError(t, w.p.Apply(w.batches[0]))
	require.Equal(t, int32(4), w.p.LeaderEpoch())
	require.Equal(t, int32(-1), w.p.Table().LeaderEpoch())
	for _, epoch := range []int32{4, 6} {
		f, finish, ok := w.p.StartFold(epoch == 4)
		require.True(t, ok)
		finish(w.db.Commit(background, []table.Fold{f}))
		require.Equal(t, epoch, w.p.Table().LeaderEpoch())
		w.close(t)
		w.open(t, fs, fold.LastValue, live.Config{})
		require.Equal(t, epoch, w.p.LeaderEpoch())
		require.NoError(t, w.p.ApplyRecords(nil, 2, 6))
	}
	w.close(t)
}

// Readers see every state whole, whatever is applied and folded meanwhile: two keys that are always written together are always equal.
func TestReadersAndFolds(t *testing.T) {
	w := &world{oracle: oracle{counter: true}}
	w.open(t, vfs.NewMem(), fold.Counter, live.Config{})
	defer w.close(t)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := int64(-1)
			for {
				asOf, rows, _, err := w.p.Scan(nil, nil)
				if err != nil || asOf < last {
					t.Errorf("as of %d after %d: %v", asOf, last, err)
					return
				}
				last = asOf
				sum := int64(0)
				for r, err := range rows {
					var n int64
					_, scanErr := fmt.Sscan(string(r.Value), &n)
					if err = cmp.Or(err, scanErr); err != nil {
						t.Error(err)
						return
					}
					sum += n
				}
				if sum != asOf { // every record adds one
					t.Errorf("sum %d as of %d", sum, asOf)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 60 {
		records := make([]record, 50)
		for k := range records {
			records[k] = record{key: fmt.Sprint(k % 7), value: "1"}
		}
		w.produce(t, batch.None, records)
		require.NoError(t, w.p.Apply(w.batches[i]))
		if i%3 == 2 {
			f, finish, ok := w.p.StartFold(i%2 == 0)
			require.True(t, ok)
			finish(w.db.Commit(background, []table.Fold{f}))
		}
	}
	close(done)
	readers.Wait()
	w.check(t)
}
