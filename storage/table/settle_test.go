package table_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// retained is how many frames are kept, as a broker does.
const retained = 24

// history writes rounds of updates of random keys, and keeps the frames that a broker would.
type history struct {
	s    *store
	x    *table.Table
	rng  *rand.Rand
	keys int
	end  int64
}

func newHistory(t *testing.T, keys int) *history {
	h := &history{s: openStore(t, vfs.NewMem(), new(int64), rowMax, false), rng: rand.New(rand.NewPCG(8, 9)), keys: keys}
	var err error
	h.x, err = h.s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	return h
}

func (h *history) write(t *testing.T, updates int) {
	h.fold(t, updates, true)
	if frames := h.x.Frames(); len(frames) > retained+1 {
		require.NoError(t, h.x.Thin(background, thinnest(frames)))
	}
	h.upkeep(t)
}

func (h *history) upkeep(t *testing.T) {
	if h.x.SettleDue() {
		require.NoError(t, h.x.Settle(background))
		require.False(t, h.x.SettleDue())
	}
}

func (h *history) fold(t *testing.T, updates int, cut bool) {
	list := make([]oracleDelta, 0, updates)
	for range updates {
		list = append(list, oracleDelta{key: fmt.Sprintf("k%05d", h.rng.IntN(h.keys)), op: oraclePut, value: fmt.Sprint(h.end), offset: h.end})
		h.end++
	}
	require.NoError(t, h.s.db.Commit(background, []table.Fold{{Table: h.x, Changes: collapse(list), End: h.end, Cut: cut}}))
}

// thinnest is the cut between the oldest and the newest that leaves the shortest gap.
func thinnest(frames []table.Frame) int64 {
	best := 1
	for i := 1; i < len(frames)-1; i++ {
		if frames[i+1].Cut-frames[i-1].Cut < frames[best+1].Cut-frames[best-1].Cut {
			best = i
		}
	}
	return frames[best].Cut
}

// stored counts the entries of a space.
func stored(t fatal, pdb *pebble.DB, space keys.TableSpace, ordinal uint32) (n int) {
	lower, upper := keys.TableSpan(space, ordinal)
	it, err := pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	require.NoError(t, it.Close())
	return n
}

// The newest frame is read at the cost of its rows, however often they were written, and however many older frames there are; these stay as they were.
func TestNewestFrameIsReadAtTheCostOfItsRows(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	h := newHistory(t, rows)
	defer h.s.close(t)
	for written := 0; written <= 30*rows; written += rows / 5 {
		h.write(t, rows/5)
		if written != 3*rows && written != 30*rows {
			continue
		}
		require.GreaterOrEqual(t, len(h.x.Frames()), 15)
		frames := h.x.Frames()
		newest := frames[len(frames)-1]
		shown := int(newest.Rows())
		passed := stored(t, h.s.pdb, keys.TableRows, 1)
		t.Logf("%d updates: %d rows are stored for %d that the newest frame shows, %d of older ones are beside", written, passed, shown, stored(t, h.s.pdb, keys.TablePast, 1))
		require.LessOrEqual(t, passed, 2*shown)
		require.LessOrEqual(t, stored(t, h.s.pdb, keys.TableVectors, 1), 10)
		for i := 0; i < len(frames); i += 6 {
			_, err := h.x.Verify(background, frames[i].Cut)
			require.NoError(t, err)
		}
		require.Positive(t, stored(t, h.s.pdb, keys.TablePast, 1), "some of what older frames show is beside")
	}
	frames := h.x.Frames()
	require.NoError(t, h.x.Trim(background, frames[len(frames)-1].Cut))
	require.Zero(t, stored(t, h.s.pdb, keys.TablePast, 1))
}

// What comes and goes between two cuts is not in the way either: not before there is any frame, and not of the next one.
func TestLongIntervalIsReadAtTheCostOfItsRows(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	h := newHistory(t, rows)
	defer h.s.close(t)
	for cuts := range 3 {
		for range 60 {
			h.fold(t, rows/5, false)
			h.upkeep(t)
			// Those of the former frame stay in their place, and those that were written since.
			require.LessOrEqual(t, stored(t, h.s.pdb, keys.TableRows, 1), (2+min(cuts, 1))*rows+2*rows)
		}
		h.fold(t, rows/5, true)
		h.upkeep(t)
		require.NoError(t, h.x.Settle(background))
		require.LessOrEqual(t, stored(t, h.s.pdb, keys.TableRows, 1), 2*rows)
		for _, f := range h.x.Frames() {
			_, err := h.x.Verify(background, f.Cut)
			require.NoError(t, err)
		}
		require.Zero(t, stored(t, h.s.pdb, keys.TableVectors, 1))
	}
}

// Damage to a row that older frames alone show is met by who reads one of these, and by nobody else; it leaves with them.
func TestDamagedPastRow(t *testing.T) {
	t.Parallel()
	const rows = 10_000
	h := newHistory(t, rows)
	defer h.s.close(t)
	for range 8 {
		h.write(t, rows)
	}
	frames := h.x.Frames()
	oldest, newest := frames[0].Cut, frames[len(frames)-1].Cut
	lower, upper := keys.TableSpan(keys.TablePast, 1)
	it, err := h.s.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	require.NoError(t, err)
	require.True(t, it.First())
	damaged := bytes.Clone(it.Key())
	require.NoError(t, it.Close())
	require.NoError(t, h.s.pdb.Set(damaged, []byte("nonsense"), pebble.NoSync))
	_, err = h.x.Verify(background, oldest)
	require.ErrorIs(t, err, table.ErrCorrupt)
	for _, cut := range []int64{newest, table.Current} {
		_, err = h.x.Verify(background, cut)
		require.NoError(t, err)
	}
	_, spans, err := h.x.Salvage(nil, func(*frame.Row) error { return nil }, func(table.LostRow) error { return nil })
	require.NoError(t, err)
	require.Empty(t, spans)
	require.NoError(t, h.x.Reindexable(background))
	h.write(t, rows)
	require.NoError(t, h.x.Settle(background))
	require.NoError(t, h.x.Trim(background, newest))
	for _, f := range h.x.Frames() {
		_, err = h.x.Verify(background, f.Cut)
		require.NoError(t, err)
	}
}
