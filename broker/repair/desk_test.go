package repair_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	rows = 500
	cut  = int64(rows)
)

// world is a desk over a table database in memory, which has the frame at cut in every table.
type world struct {
	t        *testing.T
	fs       *vfs.MemFS
	pdb      *pebble.DB
	db       *table.DB
	ms       atomic.Int64
	gate     atomic.Pointer[gate] // what reads of files wait for
	disputed atomic.Bool
	variant  string // in all values
	log      lockedBuffer
	metrics  *prometheus.Registry
	desk     *repair.Desk
}

type gate struct {
	reached chan struct{} // gets one for each read that waits
	open    chan struct{}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic("pebble: " + format)
}

func newWorld(t *testing.T, cfg repair.Config) *world {
	w := &world{t: t, fs: vfs.NewMem(), metrics: prometheus.NewRegistry()}
	w.ms.Store(1_000_000)
	gated := errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if g := w.gate.Load(); g != nil && op.Kind == errorfs.OpFileReadAt {
			select {
			case g.reached <- struct{}{}:
			default:
			}
			<-g.open
		}
		return nil
	}))
	options := &pebble.Options{FS: gated, DisableWAL: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}}
	options.EventListener = &pebble.EventListener{DataCorruption: func(pebble.DataCorruptionInfo) {}} // by default it ends the process
	for i := range options.Levels {
		options.Levels[i].BlockSize = 1 << 10
		options.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	options.EnsureDefaults()
	var err error
	w.pdb, err = pebble.Open("db", options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.pdb.Close()) })
	now := func() time.Time { return time.UnixMilli(w.ms.Load()) }
	w.db, err = table.Open(table.Config{DB: w.pdb, Options: options, FS: gated, Dir: "ingest", Now: now, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.db.Close()) })
	cfg.Now, cfg.Metrics, cfg.Logger = now, w.metrics, slog.New(slog.NewTextHandler(&w.log, nil))
	cfg.Disputed = func([16]byte, int32) bool { return w.disputed.Load() }
	w.desk = repair.NewDesk(cfg)
	t.Cleanup(func() { require.NoError(t, w.desk.Close()) })
	return w
}

// source is a partition with rows "key000"... and a frame, the key at 10 without a row.
func (w *world) source(partition int32) repair.Source {
	return w.sourceIn(uint32(partition)+1, partition)
}

// sourceIn is source, in the table with an ordinal: each has the same frame.
func (w *world) sourceIn(ordinal uint32, partition int32) repair.Source {
	id := table.Identity{TopicID: [16]byte{7}, Partition: partition, Fold: fold.LastValue}
	t, err := w.db.Table(ordinal, id)
	require.NoError(w.t, err)
	f := table.Fold{Table: t, End: cut, LeaderEpoch: -1, Cut: true, CutTimeMs: 5}
	for i := range int64(rows) {
		d := table.Delta{Offset: i, Timestamp: i}
		if i == 10 {
			d.Op = delta.Delete
		} else {
			d.Op, d.Value = delta.Put, []byte(fmt.Sprintf("value%03d-%d-%s-%050d", i, partition, w.variant, 0))
		}
		f.Changes = append(f.Changes, table.Change{Key: []byte(fmt.Sprintf("key%03d", i)), Deltas: []table.Delta{d}})
	}
	require.NoError(w.t, w.db.Commit(context.Background(), []table.Fold{f}))
	return repair.Source{Topic: "files", TopicID: id.TopicID, Partition: partition, Table: t}
}

func (w *world) open(src repair.Source) *repair.Frame {
	w.t.Helper()
	f, err := w.desk.Open(context.Background(), src, cut)
	require.NoError(w.t, err)
	w.t.Cleanup(f.Release)
	return f
}

func (w *world) pass(d time.Duration) { w.ms.Add(d.Milliseconds()) }

// metric is the value of a counter or gauge, or how much a histogram has seen; of all label values together.
func (w *world) metric(name string) (sum float64) {
	families, err := w.metrics.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() == "keyframe_repair_"+name {
			for _, m := range f.Metric {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func (w *world) deleteRow(src repair.Source, offset int64) {
	require.NoError(w.t, w.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, src.Table.Ordinal(), offset), pebble.NoSync))
}

// replaceRow puts a row there that another broker has stored at the same place: all is well with it but for its value.
func (w *world) replaceRow(src repair.Source, offset int64) {
	other := newWorld(w.t, repair.Config{})
	other.variant = "other"
	other.source(src.Partition)
	k := keys.AppendTableOffset(nil, keys.TableRows, src.Table.Ordinal(), offset)
	b, closer, err := other.pdb.Get(k)
	require.NoError(w.t, err)
	require.NoError(w.t, w.pdb.Set(k, b, pebble.NoSync))
	require.NoError(w.t, closer.Close())
}

// damage changes a byte of what is stored in an sstable.
func (w *world) damage(text string) {
	names, err := w.fs.List("db")
	require.NoError(w.t, err)
	for _, name := range names {
		if path.Ext(name) != ".sst" {
			continue
		}
		f, err := w.fs.OpenReadWrite(path.Join("db", name), vfs.WriteCategoryUnspecified)
		require.NoError(w.t, err)
		info, err := f.Stat()
		require.NoError(w.t, err)
		b := make([]byte, info.Size())
		_, err = io.ReadFull(f, b)
		require.NoError(w.t, err)
		i := bytes.Index(b, []byte(text))
		if i >= 0 {
			_, err = f.WriteAt([]byte("X"), int64(i))
			require.NoError(w.t, err)
		}
		require.NoError(w.t, f.Close())
		if i >= 0 {
			return
		}
	}
	require.Fail(w.t, "the text is in no sstable")
}

// naive hashes the frame's rows through another door, in offset order.
func naive(t *testing.T, src repair.Source) (tags []uint64, keys []string) {
	v, err := src.Table.View(cut)
	require.NoError(t, err)
	defer v.Close()
	var h digest.Hasher
	for row, err := range v.Offsets(0, false) {
		require.NoError(t, err)
		tag := h.Entry(row.Key, row.Value).Tag()
		tags, keys = append(tags, binary.BigEndian.Uint64(tag[:])), append(keys, string(row.Key))
	}
	return tags, keys
}

// collect is the keys of the rows with the tags.
func collect(f *repair.Frame, tags ...uint64) (got []string, unknown []uint64, err error) {
	unknown, err = f.Rows(context.Background(), tags, func(row *frame.Row) error {
		got = append(got, fmt.Sprintf("%s at %d", row.Key, row.Offset))
		return nil
	})
	return got, unknown, err
}

func TestWhatAFrameAnswers(t *testing.T) {
	w := newWorld(t, repair.Config{})
	src := w.source(0)
	tags, names := naive(t, src)
	require.Len(t, tags, rows-1)

	f := w.open(src)
	require.Equal(t, tags, f.Tags())
	require.EqualValues(t, rows-1, f.Frame().Digest.Count)
	require.Equal(t, src.Table.Pub(f.Frame()), f.Pub())

	want := sketch.NewEncoder(tags).Next(nil, 300)
	for _, x := range [][2]int{{0, 64}, {64, 100}, {10, 20}, {290, 10}, {300, 0}, {0, 300}} {
		cells, err := f.Cells(context.Background(), x[0], x[1])
		require.NoError(t, err)
		require.Equal(t, want[x[0]:x[0]+x[1]], cells, "the same cells for everybody, in any order of asking")
	}
	cells, err := f.Cells(context.Background(), sketch.CellsMax-1, 10)
	require.NoError(t, err)
	require.Len(t, cells, 1, "there are no more")
	_, err = f.Cells(context.Background(), -1, 10)
	require.Error(t, err)
	cells, err = f.Cells(context.Background(), 0, 10)
	require.NoError(t, err)
	_ = append(cells, sketch.Cell{Sum: 1})
	cells, err = f.Cells(context.Background(), 10, 1)
	require.NoError(t, err)
	require.Equal(t, want[10:11], cells, "nobody writes into what is shared")

	got, unknown, err := collect(f, tags[400], 12345, tags[3], tags[3], 12345)
	require.NoError(t, err)
	require.Equal(t, []string{names[3] + " at 3", names[400] + " at 401"}, got, "in offset order, each once")
	require.Equal(t, []uint64{12345}, unknown)
	got, unknown, err = collect(f)
	require.NoError(t, err)
	require.Empty(t, got)
	require.Empty(t, unknown)

	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	fresh := w.open(w.source(1))
	for range 20 {
		_, err = fresh.Cells(canceled, sketch.CellsMax-1, 1)
		require.ErrorIs(t, err, context.Canceled, "cells take a while")
	}
	_, err = f.Rows(canceled, tags, func(*frame.Row) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	_, err = f.Rows(context.Background(), tags, func(*frame.Row) error { return io.ErrShortWrite })
	require.ErrorIs(t, err, io.ErrShortWrite)
	_, err = w.desk.Open(context.Background(), src, cut-1)
	require.ErrorIs(t, err, table.ErrNoFrame)
}

// However many ask at once, one scan reads the frame; who gives up does not take it from the others.
func TestAskersShareOneScan(t *testing.T) {
	w := newWorld(t, repair.Config{})
	src := w.source(0)
	v, err := src.Table.View(cut) // what opening one reads is in the cache from now on
	require.NoError(t, err)
	require.NoError(t, v.Close())
	g := &gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
	w.gate.Store(g)

	hasty, giveUp := context.WithCancel(context.Background())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := w.desk.Open(hasty, src, cut)
		gaveUp <- err
	}()
	<-g.reached // the scan has begun
	var askers sync.WaitGroup
	for range 20 {
		askers.Go(func() {
			f, err := w.desk.Open(context.Background(), src, cut)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Release()
			if n := len(f.Tags()); n != rows-1 {
				t.Error(n, "tags")
			}
		})
	}
	giveUp()
	require.ErrorIs(t, <-gaveUp, context.Canceled)
	w.gate.Store(nil)
	close(g.open)
	askers.Wait()
	require.EqualValues(t, 1, w.metric("scan_seconds"))
	require.EqualValues(t, 1, w.metric("frames"))
}

// A frame whose block is damaged is nobody's source; that is found once, told once, and looked at anew after a while.
func TestADamagedFrameIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*world, repair.Source){
		"block": func(w *world, _ repair.Source) { w.damage("value100-0") },
		"row":   func(w *world, src repair.Source) { w.deleteRow(src, 100) },
		"value": func(w *world, src repair.Source) { w.replaceRow(src, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, repair.Config{Keep: time.Minute})
			src := w.source(0)
			spoil(w, src)
			for range 3 {
				_, err := w.desk.Open(context.Background(), src, cut)
				require.ErrorIs(t, err, repair.ErrCorrupt)
				require.ErrorContains(t, err, "files/0 at 500")
			}
			require.EqualValues(t, 1, w.metric("corrupt_total"))
			require.EqualValues(t, 3, w.metric("refused_total"))
			require.Zero(t, w.metric("frames"), "it takes nobody's place")
			require.Equal(t, 1, strings.Count(w.log.String(), "level=ERROR"))
			require.Contains(t, w.log.String(), "keyframe check")

			w.pass(time.Minute)
			_, err := w.desk.Open(context.Background(), src, cut)
			require.ErrorIs(t, err, repair.ErrCorrupt)
			require.EqualValues(t, 2, w.metric("corrupt_total"))
			w.open(w.source(1)) // others are as they were
		})
	}
}

// Where a partition is folded anew, its frame is the same one in another table. That the former's rows were damaged does not keep replicas from being
// repaired with the new ones, and that they were good does not vouch for these.
func TestAFrameThatIsFoldedAnew(t *testing.T) {
	w := newWorld(t, repair.Config{Keep: time.Minute})
	former := w.source(0)
	w.deleteRow(former, 100)
	_, err := w.desk.Open(context.Background(), former, cut)
	require.ErrorIs(t, err, repair.ErrCorrupt)

	anew := w.sourceIn(9, 0)
	f := w.open(anew)
	require.Equal(t, anew.Table.Pub(f.Frame()), f.Pub())
	tags, _ := naive(t, anew)
	require.Equal(t, tags, f.Tags())
	got, _, err := collect(f, tags[99])
	require.NoError(t, err)
	require.Equal(t, []string{"key100 at 100"}, got)
	f.Release()

	again := w.sourceIn(10, 0)
	w.deleteRow(again, 200)
	_, err = w.desk.Open(context.Background(), again, cut)
	require.ErrorIs(t, err, repair.ErrCorrupt)
	_, err = w.desk.Open(context.Background(), former, cut)
	require.ErrorIs(t, err, repair.ErrCorrupt)
	w.open(anew)
}

// A row that was damaged after the frame was read is not sent, and the frame is nobody's source any more.
func TestARowThatIsDamagedLaterIsNotSent(t *testing.T) {
	for name, spoil := range map[string]func(*world, repair.Source){
		"row":   func(w *world, src repair.Source) { w.deleteRow(src, 100) },
		"value": func(w *world, src repair.Source) { w.replaceRow(src, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, repair.Config{})
			src := w.source(0)
			f := w.open(src)
			tags := f.Tags()
			spoil(w, src)
			got, _, err := collect(f, tags[50], tags[99])
			require.ErrorIs(t, err, repair.ErrCorrupt)
			require.Equal(t, []string{"key051 at 51"}, got)
			require.EqualValues(t, 1, w.metric("corrupt_total"))
			require.Zero(t, w.metric("frames"))
			_, err = w.desk.Open(context.Background(), src, cut)
			require.ErrorIs(t, err, repair.ErrCorrupt)
		})
	}
}

func TestADisputedPartitionIsNoSource(t *testing.T) {
	w := newWorld(t, repair.Config{})
	src := w.source(0)
	w.open(src)
	w.disputed.Store(true)
	_, err := w.desk.Open(context.Background(), src, cut)
	require.ErrorIs(t, err, repair.ErrDisputed)
	w.disputed.Store(false)
	w.open(src)
}

// Where the log start moves at the same cut, another frame is there: it is read anew, and rows of the former are not mixed with its.
func TestASupersededFrame(t *testing.T) {
	w := newWorld(t, repair.Config{})
	src := w.source(0)
	former := w.open(src)
	require.NoError(t, w.db.Commit(context.Background(), []table.Fold{
		{Table: src.Table, End: cut, LeaderEpoch: -1, Cut: true, CutTimeMs: 5, Start: 200},
	}))
	f := w.open(src)
	require.NotEqual(t, former.Pub(), f.Pub())
	require.Len(t, f.Tags(), rows-200)
	require.Len(t, former.Tags(), rows-1)
	_, _, err := collect(former, former.Tags()[0])
	require.ErrorIs(t, err, table.ErrNoFrame)
	got, _, err := collect(f, f.Tags()[0])
	require.NoError(t, err)
	require.Equal(t, []string{"key200 at 200"}, got)
}

// Close ends a scan under way, and whoever waits for it is told; then nobody gets a frame.
func TestClose(t *testing.T) {
	w := newWorld(t, repair.Config{})
	src := w.source(0)
	v, err := src.Table.View(cut) // what opening one reads is in the cache from now on
	require.NoError(t, err)
	require.NoError(t, v.Close())
	g := &gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
	w.gate.Store(g)
	told, closed := make(chan error, 1), make(chan error, 1)
	var goesOn atomic.Bool
	go func() {
		_, err := w.desk.Open(context.Background(), src, cut)
		told <- err
	}()
	<-g.reached
	go func() {
		err := w.desk.Close()
		if !goesOn.Load() {
			err = errors.Join(err, errors.New("Close did not wait for the scan"))
		}
		closed <- err
	}()
	require.Eventually(t, func() bool {
		hasty, giveUp := context.WithCancel(context.Background())
		giveUp()
		f, err := w.desk.Open(hasty, src, cut)
		if f != nil {
			f.Release()
		}
		return errors.Is(err, repair.ErrClosed)
	}, time.Minute, time.Millisecond)
	w.gate.Store(nil)
	goesOn.Store(true)
	close(g.open)
	require.ErrorIs(t, <-told, repair.ErrClosed)
	require.NoError(t, <-closed)
	require.Zero(t, w.metric("frames"))
}
