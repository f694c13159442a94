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
	scrub := a.ScrubFrame()
	p, err := scrub.Next(background, 10)
	require.NoError(t, err)
	require.Equal(t, table.Piece{Done: true}, p, "there is no frame")
	_, begun := scrub.Cut()
	require.False(t, begun)

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
			p, err := scrub.Next(background, 30)
			require.NoError(t, err)
			require.LessOrEqual(t, p.Rows, 30)
			rows, done = rows+p.Rows, p.Done
		}
		return rows
	}
	require.Equal(t, 60, read(60))
	require.NoError(t, s.db.Keep(background, map[*table.Table]int64{a: 200}))
	commit(200, 300)
	require.Equal(t, 140, read(1000), "the frame is as it was, whatever is folded since, and whether it is kept")

	scrub = a.ScrubFrame()
	read(60)
	cut, begun := scrub.Cut()
	require.True(t, begun)
	require.EqualValues(t, 300, cut)
	commit(300, 310)
	require.NoError(t, a.Thin(background, 300))
	require.Equal(t, 200, read(1000), "the oldest frame, from its beginning")

	scrub = a.ScrubFrame()
	p, err = scrub.Next(background, 1)
	require.NoError(t, err)
	require.Equal(t, table.Piece{Rows: 1, Bytes: 4 + 4 + 1000}, p)
	canceled, cancel := context.WithCancel(background)
	cancel()
	p, err = scrub.Next(canceled, 100)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, p.Done)
	_, err = a.ScrubRows().Next(canceled, 100)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, s.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 1, 305), pebble.NoSync))
	for p, err = (table.Piece{}), nil; !p.Done && err == nil; {
		p, err = scrub.Next(background, 100)
	}
	require.ErrorIs(t, err, table.ErrDigest, "a row is missing")
	require.False(t, p.Done)
	scrub = a.ScrubRows()
	for p, err = (table.Piece{}), nil; !p.Done && err == nil; {
		p, err = scrub.Next(background, 100)
	}
	require.ErrorIs(t, err, table.ErrCorrupt, "the index has it")
}

// A row that is sound in itself, and not the one that was stored, is found by either kind.
func TestScrubFindsAnotherRow(t *testing.T) {
	stored := func(value string) (*store, *table.Table) {
		var clock int64
		fs := vfs.NewMem()
		s := &store{fs: fs, clock: &clock, max: 4096, opts: options(fs, true)}
		s.open(t)
		t.Cleanup(func() { s.close(t) })
		a, err := s.db.Table(1, identity(fold.LastValue, 0))
		require.NoError(t, err)
		var deltas []oracleDelta
		for o := range int64(100) {
			deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", o), offset: o, op: oraclePut, value: value})
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: 100, Cut: true}}))
		return s, a
	}
	s, a := stored("this")
	other, _ := stored("that")
	k := keys.AppendTableOffset(nil, keys.TableRows, 1, 60)
	row, closer, err := other.pdb.Get(k)
	require.NoError(t, err)
	require.NoError(t, s.pdb.Set(k, row, pebble.NoSync))
	require.NoError(t, closer.Close())

	rows := a.ScrubRows()
	p, err := rows.Next(background, 50)
	require.NoError(t, err)
	require.Equal(t, 50, p.Rows)
	p, err = rows.Next(background, 50)
	require.ErrorIs(t, err, table.ErrCorrupt)
	require.ErrorContains(t, err, "does not hash to what its index entry says")
	require.Equal(t, 10, p.Rows, "those before")
	_, err = a.ScrubFrame().Next(background, 100)
	require.NoError(t, err, "not read to the end")
	_, err = a.ScrubFrame().Next(background, 101)
	require.ErrorIs(t, err, table.ErrDigest)
	_, err = a.Verify(background, 100)
	require.ErrorIs(t, err, table.ErrDigest)
}

// A frame that is superseded at its cut, because the log start has moved, is another one: the pass begins anew, and nothing is taken for damage.
func TestScrubOfASupersededFrame(t *testing.T) {
	var clock int64
	fs := vfs.NewMem()
	s := &store{fs: fs, clock: &clock, max: 4096, opts: options(fs, true)}
	s.open(t)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var deltas []oracleDelta
	for o := range int64(100) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", o), offset: o, op: oraclePut, value: "v"})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: collapse(deltas), End: 100, Cut: true}}))
	scrub := a.ScrubFrame()
	p, err := scrub.Next(background, 60)
	require.NoError(t, err)
	require.Equal(t, 60, p.Rows)
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, End: 100, LeaderEpoch: -1, Cut: true, Start: 30}}))
	rows := 0
	for p = (table.Piece{}); !p.Done; rows += p.Rows {
		p, err = scrub.Next(background, 60)
		require.NoError(t, err)
	}
	require.Equal(t, 70, rows)
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
	scrub := a.ScrubFrame()
	for _, x := range [][2]int{{8, 2}, {1, 1}, {16, 4}} {
		p, err := scrub.Next(background, x[0])
		require.NoError(t, err)
		require.False(t, p.Done)
		require.Equal(t, x[1], p.Rows)
	}
}
