package table_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
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

	scrub = table.Scrub{}
	n, bytes, done, err := a.ScrubFrame(background, &scrub, 1)
	require.NoError(t, err)
	require.False(t, done)
	require.Equal(t, 1, n)
	require.EqualValues(t, 4+4+1000, bytes)
	canceled, cancel := context.WithCancel(background)
	cancel()
	_, _, done, err = a.ScrubFrame(canceled, &scrub, 100)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, done)
	require.NoError(t, s.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 1, 305), pebble.NoSync))
	for done, err = false, nil; !done && err == nil; {
		_, _, done, err = a.ScrubFrame(background, &scrub, 100)
	}
	require.ErrorIs(t, err, table.ErrDigest, "a row is missing")
	require.False(t, done)
}

// A piece has no more bytes than a KiB for each row that was asked for, and one row at least.
func TestScrubFrameOfLargeRows(t *testing.T) {
	var clock int64
	fs := vfs.NewMem()
	s := &store{fs: fs, clock: &clock, max: 8192, opts: options(fs, true)}
	s.open(t)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var deltas []oracleDelta
	for o := range int64(20) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", o), offset: o, op: oraclePut, value: fmt.Sprintf("%04096d", o)})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: 20, Cut: true}}))
	var scrub table.Scrub
	for _, x := range [][2]int{{8, 2}, {1, 1}, {16, 4}} {
		n, _, done, err := a.ScrubFrame(background, &scrub, x[0])
		require.NoError(t, err)
		require.False(t, done)
		require.Equal(t, x[1], n)
	}
}
