package live_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

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

// cutAt notes the cut that was committed.
func (w *world) cutAt(f table.Fold) {
	if !f.Cut {
		return
	}
	if len(w.cuts) == 0 || w.cuts[len(w.cuts)-1] < f.End {
		w.cuts = append(w.cuts, f.End)
	}
	if n := len(w.moves); f.Start > 0 && (n == 0 || w.moves[n-1] != move{f.End, f.Start}) {
		w.moves = append(w.moves, move{f.End, f.Start}) // maybe at a cut that was there
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
