package live_test

import (
	"bytes"
	"fmt"
	"iter"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// BenchmarkDiff finds what differs between two frames of a table of 200,000 rows of 116 bytes, of which some were touched between them; beside it
// both states read in key order and compared.
func BenchmarkDiff(b *testing.B) {
	const rows = 200_000
	for _, touched := range []int{100, 2_000, rows} {
		w := benchWorld(b)
		rng := rand.New(rand.NewPCG(1, 2))
		fill := func(n int, step uint64) {
			for done := 0; done < n; done += 1000 {
				size := min(1000, n-done)
				id := uint64(done) * step
				x := benchBatch(b, rng, w.next, size, func() uint64 { id += step; return id })
				require.NoError(b, w.p.Apply(x))
				w.next += int64(size)
			}
			f, finish, ok := w.p.StartFold(true)
			require.True(b, ok)
			finish(w.db.Commit(background, []table.Fold{f}))
		}
		fill(rows, 1)
		fill(touched, uint64(rows/touched))
		b.Run(fmt.Sprintf("touched=%d", touched), func(b *testing.B) {
			for b.Loop() {
				d, err := w.p.Diff(background, rows, w.next, w)
				require.NoError(b, err)
				n := 0
				for _, err := range d.Rows(background, nil, nil) {
					require.NoError(b, err)
					n++
				}
				require.Equal(b, touched, n)
				require.NoError(b, d.Close())
			}
		})
		b.Run(fmt.Sprintf("touched=%d,scans", touched), func(b *testing.B) {
			for b.Loop() {
				require.Equal(b, touched, w.scanBoth(b, rows, w.next))
			}
		})
	}
}

// scanBoth counts what differs between two states with the same keys.
func (w *world) scanBoth(b *testing.B, from, to int64) (n int) {
	older, err := w.p.At(background, from, w)
	require.NoError(b, err)
	defer older.Close()
	younger, err := w.p.At(background, to, w)
	require.NoError(b, err)
	defer younger.Close()
	next, stop := iter.Pull2(older.Scan(nil, nil))
	defer stop()
	for row, err := range younger.Scan(nil, nil) {
		require.NoError(b, err)
		var former frame.Row
		former, err, _ = next()
		require.NoError(b, err)
		if !bytes.Equal(former.Value, row.Value) {
			n++
		}
	}
	return n
}
