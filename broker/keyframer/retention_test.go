package keyframer

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/log"
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
	h := holdings{frames: frames(100, 1000, 200, 2000, 300, 3000, 400, 4000), lastBatch: 440}
	none := Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: -1}
	near := func(pairs ...int64) holdings {
		return holdings{frames: frames(pairs...), deltaStart: 100, lastBatch: 440}
	}
	sixteen := Settings{DeltaRetentionMs: 1600, DeltaRetentionBytes: -1}
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
		{"the last batch stays", holdings{frames: h.frames, lastBatch: 390}, Settings{DeltaRetentionBytes: -1}, 9999, 300, 0},
		{"not to where it is", holdings{frames: h.frames, deltaStart: 100, lastBatch: 150}, Settings{DeltaRetentionBytes: -1}, 9999, -1, 0},
		{"not for little: less than a sixteenth of the retention", near(100, 1000, 101, 1001, 102, 1100), sixteen, 2699, -1, 2700},
		{"... but with one that is further", near(100, 1000, 101, 1001, 102, 1100), sixteen, 2700, 102, 0},
		{"... nor for long", near(100, 1000, 101, 1001), sixteen, 2700, -1, 2701},
		{"... but for little in the end", near(100, 1000, 101, 1001), sixteen, 2701, 101, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, again, err := trimTarget(&c.h, &c.s, c.nowMs)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, c.againMs, again)
		})
	}
}

func TestTrimByBytes(t *testing.T) {
	kept := map[int64]int64{100: 4000, 200: 3000, 300: 2000, 400: 1000}
	skewed := map[int64]int64{100: 500, 200: 400, 300: 300, 400: 200}
	h := holdings{frames: frames(100, 1000, 200, 2000, 300, 3000, 400, 4000), lastBatch: 490, deltaBytes: 5000}
	keep := func(bytes int64) Settings { return Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: bytes} }
	for _, c := range []struct {
		name    string
		from    map[int64]int64 // bytes from a cut on
		s       Settings
		want    int64
		againMs int64
	}{
		{"no limit", kept, keep(-1), -1, 0},
		{"the largest there is", kept, keep(math.MaxInt64), -1, 0},
		{"within", kept, keep(5000), -1, 0},
		{"no frame is low enough: the newest", kept, keep(100), 400, 0},
		{"the oldest that is enough", kept, keep(2500), 300, 0},
		{"exactly", kept, keep(3000), 200, 0},
		{"not for little: less than an eighth more", kept, keep(4450), -1, 0},
		{"an eighth more", kept, keep(4440), 100, 0},
		{"most of it lies at the start", skewed, keep(1000), 100, 0},
		{"min.compaction.lag.ms", kept, Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: 100, MinCompactionLagMs: 7000}, 300, 11000},
		{"all too young", kept, Settings{DeltaRetentionMs: -1, DeltaRetentionBytes: 100, MinCompactionLagMs: 9500}, -1, 10500},
		{"nothing kept", kept, keep(0), 400, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.bytesFrom = func(offset int64) (int64, error) { return c.from[offset], nil }
			got, again, err := trimTarget(&h, &c.s, 10000)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.Equal(t, c.againMs, again)
		})
	}
	h.bytesFrom = func(int64) (int64, error) { return 0, log.ErrClosed }
	s := keep(2500)
	_, _, err := trimTarget(&h, &s, 10000)
	require.ErrorIs(t, err, log.ErrClosed)
}

func TestThin(t *testing.T) {
	list := frames(100, 1000, 200, 2000, 300, 2100, 400, 5000, 500, 6000)
	require.EqualValues(t, -1, thinTarget(list, 4, nil), "the oldest does not count")
	require.EqualValues(t, 200, thinTarget(list, 3, nil), "the shortest gap")
	require.EqualValues(t, -1, thinTarget(frames(100, 1000, 200, 2000, 300, 2100), 1, nil), "one between stays")
	require.EqualValues(t, 300, thinTarget(frames(100, 1000, 200, 2000, 300, 2100, 400, 2500), 2, nil), "the oldest and the newest stay")
	require.EqualValues(t, -1, thinTarget(frames(100, 1000, 200, 2000), 0, nil))
	require.EqualValues(t, -1, thinTarget(nil, 0, nil))
}

// The newest frames that somebody keeps the name of are spared while they are fewer than a third; those beyond go as any others.
func TestThinSparesWhatIsKept(t *testing.T) {
	keep := func(list []table.Frame, cuts ...int64) []table.Frame {
		list = slices.Clone(list)
		for i := range list {
			list[i].Kept = slices.Contains(cuts, list[i].Cut)
		}
		return list
	}
	list := frames(100, 1000, 200, 2000, 300, 2100, 400, 5000, 500, 6000)
	require.EqualValues(t, 200, thinTarget(list, 3, nil))
	require.EqualValues(t, 300, thinTarget(keep(list, 200), 3, nil))
	require.EqualValues(t, 200, thinTarget(keep(list, 200, 400), 3, nil), "two are not fewer than a third of four: the older one is as any other")
	require.EqualValues(t, 200, thinTarget(keep(list, 200, 500), 3, nil), "the newest counts")
	require.EqualValues(t, 300, thinTarget(keep(list, 100, 200), 3, nil), "the oldest does not")
	require.EqualValues(t, 400, thinTarget(keep(list, 200), 3, []int64{300}))
	require.EqualValues(t, 200, thinTarget(keep(list, 200), 2, nil), "of two none")

	// Of 25 frames 8 are spared, however long ago they were cut.
	list = nil
	for cut := range int64(1000) {
		list = append(list, table.Frame{Cut: cut, CutTimeMs: cut, Kept: cut%3 == 1 && cut < 60})
		if drop := thinTarget(list, 24, nil); drop >= 0 {
			list = slices.DeleteFunc(list, func(f table.Frame) bool { return f.Cut == drop })
		}
	}
	var kept []int64
	for _, f := range list {
		if f.Kept {
			kept = append(kept, f.Cut)
		}
	}
	require.Len(t, list, 25)
	require.Equal(t, []int64{37, 40, 43, 46, 49, 52, 55, 58}, kept[max(len(kept)-8, 0):])
}

// However few frames are kept, under steady writes the retention time moves the delta start offset, and no frame that waits for
// the sake of a verification waits for ever; whichever cuts somebody keeps the names of.
func TestSteadyWritesTrim(t *testing.T) {
	for _, x := range [][2]int64{{1, 0}, {2, 0}, {3, 0}, {24, 0}, {1, 1}, {3, 1}, {24, 1}, {3, 2}, {3, 7}, {6, 30}, {24, 7}} {
		retain, named := int(x[0]), x[1]
		h := holdings{frames: frames(1, 1)}
		s := Settings{DeltaRetentionMs: 100, DeltaRetentionBytes: -1, Retain: retain}
		for now := int64(2); now < 5000; now++ {
			h.frames = append(h.frames, table.Frame{Cut: now, CutTimeMs: now, Kept: named > 0 && now%named == 0})
			h.lastBatch = now
			cut, _, err := trimTarget(&h, &s, now)
			require.NoError(t, err)
			if cut >= 0 {
				h.deltaStart = cut
				h.frames = slices.DeleteFunc(h.frames, func(f table.Frame) bool { return f.Cut < cut })
			}
			if drop := thinTarget(h.frames, retain, nil); drop >= 0 {
				h.frames = slices.DeleteFunc(h.frames, func(f table.Frame) bool { return f.Cut == drop })
			}
			if now > 400 {
				require.Greater(t, h.deltaStart, now-210, "%v at %d", x, now)
			}
		}
		require.LessOrEqual(t, len(h.frames), max(retain, 2)+1)
	}
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
			drop := thinTarget(list, 20, nil)
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
