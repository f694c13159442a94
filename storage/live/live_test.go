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

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/live"
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
				committed := false // the fold under way
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
						committed = false
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
						if finish == nil || committed {
							return
						}
						require.NoError(t, w.db.Commit(background, []table.Fold{f}))
						committed = true
						w.cutAt(f)
					},
					"finish": func(t *rapid.T) {
						if finish == nil {
							return
						}
						if committed {
							finish(nil)
						} else {
							finish(errors.New("no luck"))
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
					"diff": func(t *rapid.T) {
						w.checkDiff(t, rapid.Int64Range(0, w.next).Draw(t, "from"), rapid.Int64Range(0, w.next).Draw(t, "to"))
					},
					"history": func(t *rapid.T) {
						from := rapid.Int64Range(0, w.next).Draw(t, "from")
						w.checkHistory(t, rapid.SampledFrom([]string{"hot", "k1", "k7"}).Draw(t, "key"), from, rapid.Int64Range(from, w.next).Draw(t, "to"))
					},
					"": func(t *rapid.T) { w.check(t) },
				})
				if finish != nil {
					finish(nil)
				}
			})
		})
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
