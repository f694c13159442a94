package repair_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// million is a table on disk of a million rows of 115 bytes, and a frame.
func million(b *testing.B) repair.Source {
	const n, commit = 1_000_000, 100_000
	dir := b.TempDir()
	options := &pebble.Options{FS: vfs.Default, DisableWAL: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{}}
	options.EnsureDefaults()
	pdb, err := pebble.Open(dir+"/db", options)
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, pdb.Close()) })
	db, err := table.Open(table.Config{DB: pdb, Options: options, FS: vfs.Default, Dir: dir + "/ingest", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, db.Close()) })
	id := table.Identity{TopicID: [16]byte{7}, Fold: fold.LastValue}
	t, err := db.Table(1, id)
	require.NoError(b, err)
	for first := 0; first < n; first += commit {
		f := table.Fold{Table: t, End: int64(first + commit), LeaderEpoch: -1, Cut: first+commit == n, CutTimeMs: 1}
		for i := first; i < first+commit; i++ {
			f.Changes = append(f.Changes, table.Change{Key: fmt.Appendf(nil, "key-%011d", i), Deltas: []table.Delta{
				{Delta: delta.Delta{Op: delta.Put, Value: fmt.Appendf(nil, "%0100d", i)}, Offset: int64(i), Timestamp: 1}}})
		}
		require.NoError(b, db.Commit(context.Background(), []table.Fold{f}))
	}
	return repair.Source{Topic: "files", TopicID: id.TopicID, Table: t}
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // pools let go at the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// The first question about a frame: all of it is read and hashed, and the first cells are made.
func BenchmarkFirstAnswer(b *testing.B) {
	src := million(b)
	before := heap()
	var desk *repair.Desk
	var f *repair.Frame
	for b.Loop() {
		desk = repair.NewDesk(repair.Config{Now: time.Now})
		var err error
		f, err = desk.Open(context.Background(), src, 1_000_000)
		require.NoError(b, err)
		_, err = f.Cells(context.Background(), 0, 64)
		require.NoError(b, err)
		f.Release()
		require.NoError(b, desk.Close())
	}
	b.ReportMetric((heap()-before)/(1<<20), "MiB-held")
	runtime.KeepAlive(f)
}

// What comes after: the next cells, and rows by tag.
func BenchmarkNextAnswers(b *testing.B) {
	src := million(b)
	desk := repair.NewDesk(repair.Config{Now: time.Now})
	defer desk.Close()
	f, err := desk.Open(context.Background(), src, 1_000_000)
	require.NoError(b, err)
	defer f.Release()
	b.Run("cells=100", func(b *testing.B) {
		at := 0
		for b.Loop() {
			_, err := f.Cells(context.Background(), at, 100)
			require.NoError(b, err)
			at += 100
		}
	})
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			tags := f.Tags()[500_000 : 500_000+n]
			for b.Loop() {
				got := 0
				_, err := f.Rows(context.Background(), tags, func(*frame.Row) error { got++; return nil })
				require.NoError(b, err)
				require.Equal(b, n, got)
			}
		})
	}
}
