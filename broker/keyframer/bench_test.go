package keyframer_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/table"
)

// BenchmarkCatchUp is a keyframer that starts far behind: 4 partitions, 125,000 deltas each over 25,000 keys, values of 100
// bytes, batches of 500, until one frame of all is cut. The table is on disk, the log in memory. deltas/s counts all.
func BenchmarkCatchUp(b *testing.B) {
	const partitions, batches, size, keys = 4, 250, 500, 25_000
	clock := newClock()
	logs := make([]*memlog.Log, partitions)
	value := strings.Repeat("x", 92)
	for p := range logs {
		logs[p] = memlog.New(clock.Now)
		for i := range batches {
			records := make([]batch.Record, size)
			for j := range records {
				at := i*size + j
				records[j] = memlog.Put(fmt.Sprintf("key%013d", at*7919%keys), fmt.Sprintf("%s%08d", value, at))
			}
			logs[p].Append(records...)
		}
	}
	for b.Loop() {
		b.StopTimer()
		dir, err := engine.OpenDir(engine.Config{Dir: b.TempDir(), FS: vfs.Default})
		require.NoError(b, err)
		var options *pebble.Options
		pdb, options, err := dir.OpenTableDB()
		require.NoError(b, err)
		tables, err := table.Open(table.Config{DB: pdb, Options: options, FS: vfs.Default, Dir: dir.Path() + "/ingest", Now: clock.Now})
		require.NoError(b, err)
		k := keyframer.New(keyframer.Config{Tables: tables, Now: clock.Now})
		b.StartTimer()

		require.NoError(b, k.Add(spec(fold.LastValue, logs...), calm()))
		_, err = k.Cut(context.Background(), topicName)
		require.NoError(b, err)

		b.StopTimer()
		require.NoError(b, k.Close())
		require.NoError(b, tables.Close())
		require.NoError(b, dir.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(partitions*batches*size*b.N)/b.Elapsed().Seconds(), "deltas/s")
}
