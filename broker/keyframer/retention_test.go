package keyframer

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/table"
)

// frames makes frames from pairs of cut and time.
func frames(pairs ...int64) (list []table.Frame) {
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, table.Frame{Cut: pairs[i], CutTimeMs: pairs[i+1]})
	}
	return list
}

func TestTrimByTime(t *testing.T) {
	h := holdings{frames: frames(100, 1000, 200, 2000, 300, 3000, 400, 4000), end: 450, lastBatch: 440}
	none := Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: -1}
	for _, c := range []struct {
		name    string
		h       holdings
		s       Settings
		nowMs   int64
		want    int64
		againMs int64
	}{
		{"no limit", h, none, 99999, -1, 0},
		{"too young", h, Settings{DeltaRetentionMs: 1000, DeltaRetentionBytes: -1}, 1999, -1, 2000},
		{"the newest that is old enough", h, Settings{DeltaRetentionMs: 1000, DeltaRetentionBytes: -1}, 3500, 200, 4000},
		{"all", h, Settings{DeltaRetentionMs: 1000, DeltaRetentionBytes: -1}, 9999, 400, 0},
		{"at once", h, Settings{DeltaRetentionBytes: -1}, 4000, 400, 0},
		{"min.compaction.lag.ms", h, Settings{DeltaRetentionMs: 1000, MinCompactionLagMs: 2000, DeltaRetentionBytes: -1}, 4000, 200, 5000},
		{"the last batch stays", holdings{frames: h.frames, end: 400, lastBatch: 390}, Settings{DeltaRetentionBytes: -1}, 9999, 300, 0},
		{"not to where it is", holdings{frames: h.frames, deltaStart: 100, end: 450, lastBatch: 150}, Settings{DeltaRetentionBytes: -1}, 9999, -1, 0},
		{"not for little: a sixteenth of the retention", holdings{frames: frames(100, 1000, 101, 1001), deltaStart: 100, end: 450, lastBatch: 440},
			Settings{DeltaRetentionMs: 1600, DeltaRetentionBytes: -1}, 9999, -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, again := trimTarget(&c.h, &c.s, c.nowMs)
			require.Equal(t, c.want, got)
			require.Equal(t, c.againMs, again)
		})
	}
}

func TestTrimByBytes(t *testing.T) {
	h := holdings{frames: frames(100, 1000, 200, 2000, 300, 3000, 400, 4000), end: 500, lastBatch: 490, deltaBytes: 5000}
	keep := func(bytes int64) Settings { return Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: bytes} }
	for _, c := range []struct {
		name string
		h    holdings
		s    Settings
		want int64
	}{
		{"within", h, keep(5000), -1},
		{"no frame is low enough: the newest", h, keep(100), 400},
		{"the oldest that is enough", h, keep(2500), 300},
		{"not for little", h, keep(4800), -1},
		{"not for little where verifying is dear", holdings{frames: h.frames, end: 500, lastBatch: 490, deltaBytes: 5000, tableBytes: 1 << 30}, keep(3000), -1},
		{"dear, but twice the retention is the limit", holdings{frames: h.frames, end: 500, lastBatch: 490, deltaBytes: 5000, tableBytes: 1 << 30}, keep(2500), 300},
		{"min.compaction.lag.ms", h, Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: 100, MinCompactionLagMs: 7000}, 300},
		{"nothing kept", h, keep(0), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := trimTarget(&c.h, &c.s, 10000)
			require.Equal(t, c.want, got)
		})
	}
}

func TestThin(t *testing.T) {
	list := frames(100, 1000, 200, 2000, 300, 2100, 400, 5000, 500, 6000)
	require.EqualValues(t, -1, thinTarget(list, 4), "the oldest does not count")
	require.EqualValues(t, 200, thinTarget(list, 3), "the shortest gap")
	require.EqualValues(t, 300, thinTarget(frames(100, 1000, 200, 2000, 300, 2100, 400, 2500), 2), "the oldest and the newest stay")
	require.EqualValues(t, -1, thinTarget(frames(100, 1000, 200, 2000), 0))
	require.EqualValues(t, -1, thinTarget(nil, 0))
}

// However frames come, those that stay are spread over the time that they cover.
func TestThinSpreads(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var list []table.Frame
	now := int64(1)
	for cut := int64(1); cut <= 2000; cut++ {
		now += 50 + r.Int64N(20)
		list = append(list, table.Frame{Cut: cut, CutTimeMs: now})
		for {
			drop := thinTarget(list, 20)
			if drop < 0 {
				break
			}
			kept := list[:0:0]
			for _, f := range list {
				if f.Cut != drop {
					kept = append(kept, f)
				}
			}
			list = kept
		}
		require.Equal(t, cut, list[len(list)-1].Cut, "the newest stays")
	}
	require.Len(t, list, 21)
	for i := 1; i < len(list); i++ {
		gap := list[i].CutTimeMs - list[i-1].CutTimeMs
		require.Less(t, gap, 4*now/20, "no gap is far above the average")
	}
}
