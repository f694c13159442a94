package live_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
)

// oneKey is a log of deltas of one key, in batches that are made when they are read.
type oneKey struct{ reads int }

const oneKeyBatch = 10_000

func (s *oneKey) Batches(from, _ int64, _ int) ([]batch.Batch, error) {
	s.reads++
	opts := batch.NewOptions()
	opts.BaseOffset = from - from%oneKeyBatch
	b := batch.NewBuilder(opts)
	value := []byte(strings.Repeat("v", 100))
	for i := range int64(oneKeyBatch) {
		if err := b.Append(batch.Record{Offset: opts.BaseOffset + i, Timestamp: 1000, Key: []byte("k"), Value: value}); err != nil {
			return nil, err
		}
	}
	made, err := b.Finish()
	return []batch.Batch{made}, err
}

func (s *oneKey) Aborted(int64, int64) ([]log.AbortedTxn, error) { return nil, nil }

// The history of a key with a million deltas takes the memory of a batch, and ends with the context, within a batch.
func TestHistoryOfAMillionDeltas(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	const deltas = 1_000_000
	base, versions := heap(), 0
	src := &oneKey{}
	for v, err := range w.p.History(background, []byte("k"), 0, deltas, src) {
		if err != nil || v.Offset != int64(versions) {
			require.Fail(t, "another version", "at %d, want %d: %v", v.Offset, versions, err)
		}
		if versions++; versions%(deltas/5) == 0 {
			require.Less(t, heap()-base, int64(16<<20), "of %d bytes of values", versions*100)
		}
	}
	require.Equal(t, deltas, versions)
	require.Equal(t, deltas/oneKeyBatch, src.reads)

	ctx, cancel := context.WithCancel(background)
	defer cancel()
	src, versions = &oneKey{}, 0
	var last error
	for _, err := range w.p.History(ctx, []byte("k"), 0, deltas, src) {
		if last = err; err != nil {
			break
		}
		if versions++; versions == 25_000 {
			cancel()
		}
	}
	require.ErrorIs(t, last, context.Canceled)
	require.Equal(t, 3, src.reads)
	require.Equal(t, 30_000, versions)
}
