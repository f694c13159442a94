package table_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// A frame is read in pieces, while others are cut and go; one that goes is begun anew.
func TestScrubFrame(t *testing.T) {
	var clock int64
	fs := vfs.NewMem()
	s := &store{fs: fs, clock: &clock, max: 4096, opts: options(fs, true)}
	s.opts.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {}
	s.open(t)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var scrub table.Scrub
	_, _, done, err := a.ScrubFrame(background, &scrub, 10)
	require.NoError(t, err)
	require.True(t, done, "there is no frame")

	commit := func(from, end int64) {
		var deltas []oracleDelta
		for o := from; o < end; o++ {
			deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", o%250), offset: o, op: oraclePut, value: fmt.Sprintf("%03d-%01000d", o, 0)})
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: end, Cut: true}}))
	}
	commit(0, 200)
	read := func(until int) (rows int) {
		for done := false; !done && rows < until; {
			var n int
			n, _, done, err = a.ScrubFrame(background, &scrub, 30)
			require.NoError(t, err)
			require.LessOrEqual(t, n, 30)
			rows += n
		}
		return rows
	}
	require.Equal(t, 60, read(60))
	commit(200, 300)
	require.Equal(t, 140, read(1000), "the frame is as it was, whatever is folded since")

	scrub = table.Scrub{}
	read(60)
	cut, begun := scrub.Cut()
	require.True(t, begun)
	require.EqualValues(t, 300, cut)
	commit(300, 310)
	require.NoError(t, a.Thin(background, 300))
	require.Equal(t, 200, read(1000), "the oldest frame, from its beginning")
}
