package log

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
)

// Any mix of appends, transactions, reads, trims and restarts is what a list of batches would do. rapid prints how to repeat a failure.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		fs, c := vfs.NewMem(), &clock{ms: 1000}
		cfg := nodeConfig{fs: fs, clock: c, memTable: 256 << 10, log: Config{TailBytes: rapid.SampledFrom([]int64{-1, 3000, 1 << 20}).Draw(rt, "tail")}}
		n := openNode(t, cfg)
		defer func() { n.close() }()
		var all []batch.Batch
		var logStart, deltaStart int64
		m := newModelPartition() // producers and transactions: its batches are never cut
		epoch := int16(0)
		stable := func() int64 { return max(m.lastStable(), deltaStart) }
		end := func() int64 {
			if len(all) == 0 {
				return 0
			}
			return all[len(all)-1].NextOffset()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				c.ms += rapid.Int64Range(0, 3).Draw(rt, "ms")
				pid := rapid.Int64Range(3, 6).Draw(rt, "producer") // 3 writes without transactions
				r := rec{n: rapid.IntRange(1, 6).Draw(rt, "records"), size: rapid.IntRange(8, 1500).Draw(rt, "size"), pid: pid, ts: c.ms, txn: pid > 3}
				if last := m.producer(pid); r.txn {
					if r.epoch = epoch; last.Epoch == epoch {
						r.sequence = last.LastSequence + 1
					}
				} else {
					r.sequence = last.LastSequence + 1
				}
				b := r.batch(t)
				a, err := n.parts[0].Append(b)
				require.NoError(rt, err)
				require.NoError(rt, a.Wait(context.Background()))
				require.Equal(rt, end(), a.BaseOffset)
				require.Equal(rt, logStart, a.LogStart)
				all = append(all, b)
				m.add(t, b)
			},
			"end": func(rt *rapid.T) {
				c.ms += rapid.Int64Range(0, 3).Draw(rt, "ms")
				marker := Marker{ProducerID: rapid.Int64Range(4, 6).Draw(rt, "producer"), Commit: rapid.Bool().Draw(rt, "commit"), Bumped: rapid.Bool().Draw(rt, "bumped")}
				if marker.Bumped {
					epoch++
				}
				marker.ProducerEpoch = epoch
				a, err := n.store.AppendMarkers(n.parts[:1], marker, nil)
				require.NoError(rt, err)
				require.NoError(rt, a.Wait(context.Background()))
				got, err := n.parts[0].Batches(end(), end()+1, 1)
				require.NoError(rt, err)
				require.Len(rt, got, 1)
				all = append(all, got[0])
				m.add(t, got[0])
			},
			"aborted": func(rt *rapid.T) {
				from := rapid.Int64Range(deltaStart, end()+1).Draw(rt, "from")
				to := rapid.Int64Range(0, end()+5).Draw(rt, "to")
				got, err := n.parts[0].Aborted(from, to)
				require.NoError(rt, err)
				var want []AbortedTxn
				for _, a := range m.aborted {
					if until := min(to, stable()); from < until && a.LastOffset >= from && a.FirstOffset < until {
						want = append(want, a)
					}
				}
				require.Equal(rt, want, got)
			},
			"read": func(rt *rapid.T) {
				from := rapid.Int64Range(-1, end()+1).Draw(rt, "from")
				to := rapid.Int64Range(-1, end()+5).Draw(rt, "to")
				limit := rapid.IntRange(0, 8000).Draw(rt, "bytes")
				got, err := n.parts[0].Batches(from, to, limit)
				var outside *OffsetRangeError
				if from < logStart { // hidden from consumers
					_, _, err := n.parts[0].Read(from, to, limit, nil)
					require.ErrorAs(rt, err, &outside)
				}
				switch {
				case from < 0 || from > end():
					require.ErrorAs(rt, err, &outside)
					return
				case from < deltaStart:
					require.True(rt, errors.Is(err, ErrTrimmed))
					return
				}
				require.NoError(rt, err)
				var want []batch.Batch
				size := 0
				for _, b := range all {
					if b.NextOffset() <= from || b.BaseOffset() >= to || from >= to {
						continue
					}
					if size += len(b); len(want) > 0 && size > limit {
						break
					}
					want = append(want, b)
				}
				require.Equal(rt, len(want), len(got))
				for i := range want {
					require.True(rt, bytes.Equal(want[i], got[i]))
				}
			},
			"trim": func(rt *rapid.T) {
				to := rapid.Int64Range(0, end()).Draw(rt, "to")
				err := n.parts[0].TrimTo(context.Background(), to)
				var outside *OffsetRangeError
				if to > stable() {
					require.ErrorAs(rt, err, &outside)
					return
				}
				require.NoError(rt, err)
				if len(all) > 0 {
					deltaStart = max(deltaStart, min(to, all[len(all)-1].BaseOffset()))
				}
			},
			"log start": func(rt *rapid.T) {
				to := rapid.Int64Range(0, end()).Draw(rt, "to")
				require.NoError(rt, n.parts[0].SetLogStart(context.Background(), to))
				logStart, deltaStart = max(logStart, to), max(deltaStart, logStart, to)
			},
			"hide": func(rt *rapid.T) {
				to := rapid.Int64Range(0, end()).Draw(rt, "to")
				require.NoError(rt, n.parts[0].HideBelow(context.Background(), to))
				logStart = max(logStart, min(to, n.parts[0].Bounds().LastStable))
			},
			"restart": func(rt *rapid.T) {
				n.close()
				n = openNode(t, cfg)
			},
			"": func(rt *rapid.T) {
				require.Equal(rt, Bounds{LogStart: logStart, DeltaStart: deltaStart, HighWatermark: end(), Synced: end(), LastStable: stable(), LogEnd: end()}, n.parts[0].Bounds())
				states := n.parts[0].ProducerStates()
				require.Len(rt, states, len(m.producers))
				for _, s := range states {
					s.AppendTimeMs = 0
					require.Equal(rt, m.producers[s.ProducerID], s)
				}
				sizeIs(t, n.parts[0])
			},
		})
	})
}
