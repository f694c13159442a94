package table_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/table"
)

// BenchmarkReadDuringIngest reads a row, or opens a view and reads its meta entry, alone and beside a loop of folds of 1000 keys with their
// trims, on a disk whose syncs take 5 ms more than they do here. Reported are quantiles of the reads, and the share of the time that went into reads of more than a
// millisecond, which is what a reader who comes at any time meets: a slow read is one among many, but a long one.
func BenchmarkReadDuringIngest(b *testing.B) {
	x := newBenchOn(b, benchRows(b), errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			time.Sleep(5 * time.Millisecond)
		}
		return nil
	})))
	x.fill()
	reads := map[string]func(i int) error{
		"get": func(i int) error {
			_, _, err := x.t.Get(keyOf(uint64(i*7919) % uint64(x.rows)))
			return err
		},
		"view": func(int) error {
			v, err := x.t.View(table.Current)
			if err != nil {
				return err
			}
			return v.Close()
		},
	}
	for _, name := range []string{"get", "view"} {
		b.Run(name+"/alone", func(b *testing.B) { quantiles(b, reads[name]) })
		b.Run(name+"/ingests", func(b *testing.B) {
			stop, done := make(chan struct{}), make(chan int)
			go func() {
				n := 0
				defer func() { done <- n }()
				for {
					select {
					case <-stop:
						return
					default:
					}
					ids := make([]uint64, 1000)
					for i := range ids {
						ids[i] = x.rng.Uint64N(uint64(x.rows))
					}
					x.commit(x.changes(ids))
					n++
				}
			}()
			t0 := time.Now()
			quantiles(b, reads[name])
			close(stop)
			b.ReportMetric(float64(<-done)/time.Since(t0).Seconds(), "folds/s")
		})
		x.settle()
	}
}

func quantiles(b *testing.B, read func(i int) error) {
	var took []time.Duration
	var all, slow time.Duration
	for b.Loop() {
		t0 := time.Now()
		err := read(len(took))
		d := time.Since(t0)
		if err != nil {
			require.NoError(b, err)
		}
		took = append(took, d)
		if all += d; d > time.Millisecond {
			slow += d
		}
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	b.ReportMetric(at(0.5), "p50-us")
	b.ReportMetric(at(0.99), "p99-us")
	b.ReportMetric(at(0.999), "p999-us")
	b.ReportMetric(at(1), "max-us")
	b.ReportMetric(100*float64(slow)/float64(all), "slow-%")
}
