package log

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

// The time that is answered is the one that is stored, and it never goes back, whatever the clock does and over a restart.
func TestStampTime(t *testing.T) {
	fs, c := vfs.NewMem(), &clock{ms: 10_000}
	var answered []int64
	for range 2 {
		n := openNode(t, nodeConfig{fs: fs, clock: c})
		for _, step := range []int64{0, 5, -7, 1, -3} {
			c.ms += step
			b := rec{n: 2, ts: 77, pid: 9, sequence: int32(2 * len(answered))}.batch(t)
			a, err := n.parts[0].AppendOn(Terms{StampTime: true}, b)
			require.NoError(t, err)
			require.NoError(t, a.Wait(t.Context()))
			answered = append(answered, a.AppendTimeMs)

			c.ms++ // a retry is told what is stored, not when it came
			again, err := n.parts[0].AppendOn(Terms{StampTime: true}, rec{n: 2, ts: 77, pid: 9, sequence: int32(2*len(answered) - 2)}.batch(t))
			require.NoError(t, err)
			require.True(t, again.Duplicate)
			require.Equal(t, a.AppendTimeMs, again.AppendTimeMs)
		}
		stored := readAll(t, n.parts[0], 0, 1<<20)
		require.Len(t, stored, len(answered))
		for i, b := range stored {
			require.NoError(t, b.Validate(), "the checksum is that of the stamped batch")
			require.True(t, b.IsLogAppendTime())
			require.Equal(t, answered[i], b.MaxTimestamp())
			offset, recordTs, _, ok, err := n.parts[0].OffsetForTimestamp(answered[i])
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, answered[i], recordTs)
			require.LessOrEqual(t, offset, b.BaseOffset())
		}
		require.IsNonDecreasing(t, answered)
		require.Greater(t, answered[len(answered)-1], answered[0])
		n.close()
		c.ms = 9_000
	}
}

// Every answer of the index against a scan of everything, while the log is trimmed and restarted.
func TestTimesAgainstAScan(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	fs, c := vfs.NewMem(), &clock{ms: 10_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c})
	type one struct{ offset, ts, appendMs int64 }
	var all []one
	for range 6 {
		for range 60 {
			if r.IntN(3) > 0 {
				c.ms += int64(r.IntN(4)) - 1 // the clock goes back now and then
			}
			count, ts := 1+r.IntN(4), 1000+int64(r.IntN(500))
			a := appendWait(t, n.parts[0], rec{n: count, ts: ts, tag: r.IntN(100)})
			for i := range count {
				all = append(all, one{a.BaseOffset + int64(i), ts + int64(i), a.AppendTimeMs})
			}
		}
		p := n.parts[0]
		start := p.Bounds().DeltaStart
		for ts := int64(990); ts < 1520; ts += 7 {
			want := one{offset: -1}
			for _, o := range all {
				if o.offset >= start && o.ts >= ts {
					want = o
					break
				}
			}
			offset, recordTs, epoch, ok, err := p.OffsetForTimestamp(ts)
			require.NoError(t, err)
			require.Equal(t, want.offset >= 0, ok, "ts %d", ts)
			if ok {
				require.Equal(t, []int64{want.offset, want.ts}, []int64{offset, recordTs}, "ts %d", ts)
				require.Equal(t, p.EpochAt(offset), epoch)
			}
		}
		for ms := all[0].appendMs - 2; ms < all[len(all)-1].appendMs+3; ms++ {
			want := int64(0)
			for _, o := range all {
				if o.appendMs <= ms {
					want = o.offset + 1
				}
			}
			got, err := p.OffsetAtAppendTime(ms)
			if want < start {
				require.ErrorIs(t, err, ErrNoTime, "ms %d", ms)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, want, got, "ms %d", ms)
		}
		for _, o := range all {
			got, err := p.AppendTimeAt(o.offset)
			require.NoError(t, err)
			if o.offset >= start {
				require.Equal(t, o.appendMs, got, "offset %d", o.offset)
			} else {
				require.GreaterOrEqual(t, got, o.appendMs, "offset %d, below the delta start offset", o.offset)
			}
		}
		best := one{ts: -1}
		for _, o := range all {
			if o.offset >= start && o.ts > best.ts {
				best = o
			}
		}
		offset, ts, _, ok, err := p.MaxTimestamp()
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, []int64{best.offset, best.ts}, []int64{offset, ts})
		sizeIs(t, p)

		require.NoError(t, p.TrimTo(t.Context(), start+r.Int64N(p.Bounds().HighWatermark-start)))
		sizeIs(t, p)
		if r.IntN(2) == 0 {
			n.close()
			n = openNode(t, nodeConfig{fs: fs, clock: c})
			sizeIs(t, n.parts[0])
		}
	}
	n.close()
}

// sizeIs compares SizeBytes and BytesFrom with what a scan of the stored batches finds.
func sizeIs(t *testing.T, p *Partition) {
	t.Helper()
	list := stored(t, p)
	want := 0
	for _, b := range list {
		want += len(b)
	}
	require.EqualValues(t, want, p.SizeBytes())
	start := p.Bounds().DeltaStart
	for offset := start - 1; offset <= p.Bounds().LogEnd; offset++ {
		for len(list) > 0 && list[0].NextOffset() <= max(offset, start) {
			want -= len(list[0])
			list = list[1:]
		}
		got, err := p.BytesFrom(t.Context(), offset)
		require.NoError(t, err)
		require.EqualValues(t, want, got, "from %d", offset)
	}
}

// stored returns what is on disk, whatever the bounds say.
func stored(t *testing.T, p *Partition) (list []batch.Batch) {
	t.Helper()
	it, err := p.store.db.NewIter(p.spaceBounds('L'))
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		b, err := p.stored(it)
		require.NoError(t, err)
		list = append(list, append(batch.Batch(nil), b...))
	}
	require.NoError(t, it.Close())
	return list
}

func TestTimesOfAnEmptyPartition(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem()})
	defer n.close()
	p := n.parts[0]
	_, _, _, ok, err := p.OffsetForTimestamp(0)
	require.NoError(t, err)
	require.False(t, ok)
	_, _, _, ok, err = p.MaxTimestamp()
	require.NoError(t, err)
	require.False(t, ok)
	offset, err := p.OffsetAtAppendTime(5)
	require.NoError(t, err)
	require.Zero(t, offset)
	_, err = p.AppendTimeAt(0)
	require.ErrorIs(t, err, ErrNoTime)
}
