package table_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// BenchmarkSettle writes updates of random keys, cuts after each sixteenth of as many as there are keys, and keeps 24 frames, with and without Settle, on
// one core. In what an update costs are digest, undo entries, thinning, settling, and compactions until there are none; then the newest frame is read.
func BenchmarkSettle(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	rows := benchRows(b)
	for _, c := range []struct {
		name    string
		settles bool
	}{{"without", false}, {"with", true}} {
		b.Run(c.name, func(b *testing.B) {
			x := newBench(b, rows)
			x.fill()
			updates := 0
			var used, settling, reading time.Duration
			w0 := written(x)
			for b.Loop() {
				for range 5 * 16 {
					ids := make([]uint64, rows/16)
					for i := range ids {
						ids[i] = x.rng.Uint64N(uint64(rows))
					}
					list := x.changes(ids)
					c0 := cpu(b)
					require.NoError(b, x.s.db.Commit(background, []table.Fold{{Table: x.t, Changes: list, End: x.next, Cut: true}}))
					if frames := x.t.Frames(); len(frames) > retained+1 {
						require.NoError(b, x.t.Thin(background, thinnest(frames)))
					}
					c1 := cpu(b)
					if c.settles && x.t.SettleDue() {
						require.NoError(b, x.t.Settle(background))
					}
					settling += cpu(b) - c1
					x.settle()
					used += cpu(b) - c0
					updates += len(ids)
				}
				c0 := cpu(b)
				v, err := x.t.View(x.t.Position())
				require.NoError(b, err)
				n := 0
				for _, err := range v.Offsets(0, false) {
					require.NoError(b, err)
					n++
				}
				require.NoError(b, v.Close())
				require.Equal(b, rows, n)
				reading += cpu(b) - c0
			}
			b.ReportMetric(float64(used.Microseconds())/float64(updates), "cpu-us/update")
			b.ReportMetric(float64(settling.Microseconds())/float64(updates), "settle-us/update")
			b.ReportMetric(reading.Seconds()/float64(b.N), "cpu-s/read")
			b.ReportMetric((written(x)-w0)/float64(updates*125), "write-amp")
			b.ReportMetric(float64(stored(b, x.s.pdb, keys.TableRows, 1))/float64(rows), "stored/shown")
			b.ReportMetric(0, "ns/op")
		})
	}
}
