package sketch_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/sketch"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 2))
		rows := rapid.IntRange(0, 3000).Draw(t, "rows")
		enc := sketch.NewEncoder(randomTags(r, rows))
		first := rapid.IntRange(0, 500).Draw(t, "first")
		enc.Next(nil, first)
		cells := enc.Next(nil, rapid.IntRange(0, 200).Draw(t, "cells"))
		b := sketch.Append(nil, first, int64(rows), cells)
		got, err := sketch.Parse(b, first, int64(rows))
		require.NoError(t, err)
		require.True(t, slices.Equal(cells, got))
		require.LessOrEqual(t, len(b), 14*len(cells))
		require.LessOrEqual(t, 13*cap(got), len(b), "memory for what there is")
	})
}

// What is no cell, or no cell of a set of so many rows, is refused.
func TestParseRefuses(t *testing.T) {
	good := sketch.Append(nil, 1, 30, sketch.NewEncoder(nil).Next(nil, 1))
	cell := func(count ...byte) []byte { return append(make([]byte, 12), count...) }
	for name, x := range map[string]struct {
		b     []byte
		first int
		rows  int64
		want  error
	}{
		"cut off":               {good[:len(good)-1], 1, 30, sketch.ErrCorrupt},
		"more than all":         {cell(0x7e), 1, 30, sketch.ErrCorrupt},
		"fewer than none":       {cell(0x7f), 1, 30, sketch.ErrCorrupt},
		"not all in cell 0":     {cell(0x01), 0, 30, sketch.ErrCorrupt},
		"long form":             {cell(0x80, 0x00), 1, 30, sketch.ErrCorrupt},
		"no end of the count":   {cell(bytes.Repeat([]byte{0xff}, 11)...), 1, 30, sketch.ErrCorrupt},
		"rows below none":       {good, 1, -1, sketch.ErrCorrupt},
		"none of no rows":       {nil, 1, -1, sketch.ErrCorrupt},
		"first below none":      {good, -1, 30, sketch.ErrCorrupt},
		"beyond the last":       {cell(0), sketch.CellsMax, 30, sketch.ErrTooManyCells},
		"one beyond the last":   {append(cell(0), cell(0)...), sketch.CellsMax - 1, 30, sketch.ErrTooManyCells},
		"as many rows as there": {cell(0x01), 5, 1<<63 - 1, nil},
	} {
		_, err := sketch.Parse(x.b, x.first, x.rows)
		if x.want == nil {
			require.NoError(t, err, name)
			continue
		}
		require.ErrorIs(t, err, x.want, name)
	}
}

// One wrong bit anywhere: never a wrong difference that is called complete.
func TestAFlippedBitIsNoticed(t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	ours := randomTags(r, 2000)
	theirs := replace(r, ours, 20)
	encoded := sketch.Append(nil, 0, int64(len(theirs)), sketch.NewEncoder(theirs).Next(nil, 128))
	corrupt := 0
	for range 500 {
		b := bytes.Clone(encoded)
		bit := r.IntN(8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
		cells, err := sketch.Parse(b, 0, int64(len(theirs)))
		if err != nil {
			require.ErrorIs(t, err, sketch.ErrCorrupt)
			corrupt++
			continue
		}
		done, err := sketch.NewDecoder(ours).Add(cells)
		require.False(t, done, "bit %d", bit)
		if err != nil {
			require.ErrorIs(t, err, sketch.ErrCorrupt)
			corrupt++
		}
	}
	require.Greater(t, corrupt, 250, "mostly at once, not by never becoming complete")
}

// from42 is 64 cells of tag 42, and in cell 0 some more, so that there is always something left to find.
func from42(change func(cells []sketch.Cell)) *sketch.Decoder {
	cells := sketch.NewEncoder([]uint64{42}).Next(nil, 64)
	cells[0].Merge(sketch.Cell{Sum: 1, Check: 1, Count: 5})
	change(cells)
	dec := sketch.NewDecoder(nil)
	_, _ = dec.Add(cells)
	return dec
}

// A cell that is wrong makes a tag appear again that was taken out; taken out again, it would appear elsewhere, and so on in circles.
func TestCirclesEnd(t *testing.T) {
	dec := from42(func(cells []sketch.Cell) {
		last := slices.IndexFunc(cells[1:], func(c sketch.Cell) bool { return c.Count == 1 }) + 1
		cells[last] = sketch.Cell{}
	})
	_, err := dec.Add(nil)
	require.ErrorIs(t, err, sketch.ErrCorrupt)
	theirs, ours := dec.Difference()
	require.Equal(t, []uint64{42}, theirs)
	require.Empty(t, ours)

	one := sketch.NewEncoder([]uint64{42}).Next(nil, 1)
	_, err = sketch.NewDecoder(nil).Add(append(make([]sketch.Cell, 1), one[0], one[0]))
	require.ErrorIs(t, err, sketch.ErrCorrupt, "an empty cell 0 is that of an empty set")
}

// A cell that shows a single tag which is none of its own is wrong: nothing is taken for it.
func TestATagInAForeignCellIsNotFound(t *testing.T) {
	dec := from42(func(cells []sketch.Cell) {
		one := sketch.NewEncoder([]uint64{42}).Next(nil, 64)
		for i := range one {
			if cells[i] = (sketch.Cell{Sum: 7, Count: 3}); one[i].Count == 0 {
				cells[i] = one[0]
			}
		}
	})
	theirs, ours := dec.Difference()
	require.Empty(t, append(theirs, ours...))
}

// Noise for ever ends at CellsMax, and the decoder says so from then on.
func TestEndlessCells(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	dec := sketch.NewDecoder(randomTags(r, 10))
	cells := make([]sketch.Cell, 1<<16)
	total := 0
	for {
		for i := range cells {
			cells[i] = sketch.Cell{Sum: r.Uint64(), Check: r.Uint32(), Count: r.Int64N(20)}
		}
		done, err := dec.Add(cells)
		require.False(t, done)
		if total += len(cells); err != nil {
			require.ErrorIs(t, err, sketch.ErrTooManyCells)
			break
		}
		require.NotZero(t, dec.More())
	}
	require.Equal(t, sketch.CellsMax, total)
	require.Zero(t, dec.More())
	_, err := dec.Add(cells[:1])
	require.ErrorIs(t, err, sketch.ErrTooManyCells)
	require.Equal(t, sketch.CellsMax, dec.Cells(), "nothing is kept beyond")

	dec = sketch.NewDecoder(randomTags(r, 10))
	_, err = dec.Add(cells[:10])
	require.NoError(t, err)
	_, err = dec.Add(make([]sketch.Cell, sketch.CellsMax))
	require.ErrorIs(t, err, sketch.ErrTooManyCells)
	require.Equal(t, 10, dec.Cells())
	_, err = dec.Add(cells[:1])
	require.ErrorIs(t, err, sketch.ErrTooManyCells, "for good")
	require.Zero(t, dec.More())

	enc := sketch.NewEncoder(nil)
	require.Empty(t, enc.Next(nil, -5))
	require.Len(t, enc.Next(nil, sketch.CellsMax+5), sketch.CellsMax)
	require.Empty(t, enc.Next(nil, 1))
}

// FuzzDecoder feeds bytes as the cells of a set: they are refused, or they are the bytes that their cells encode to; and the decoder finds at most one
// tag a cell. Where it says that it is done, the tags found explain all cells.
func FuzzDecoder(f *testing.F) {
	r := rand.New(rand.NewPCG(23, 24))
	ours := randomTags(r, 40)
	for _, n := range []int{0, 1, 5, 40} {
		f.Add(sketch.Append(nil, 0, 40, sketch.NewEncoder(replace(r, ours, n)).Next(nil, 60)), uint16(40), uint16(7))
	}
	f.Add(binary.AppendVarint(make([]byte, 12), 0), uint16(0), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, rows, step uint16) {
		cells, err := sketch.Parse(b, 0, int64(rows))
		if err != nil {
			return
		}
		require.Equal(t, b, sketch.Append([]byte{}, 0, int64(rows), cells))
		dec := sketch.NewDecoder(ours)
		done := false
		for left := cells; len(left) > 0 && !done && err == nil; {
			n := min(int(step)+1, len(left))
			done, err = dec.Add(left[:n])
			left = left[n:]
		}
		theirs, extra := dec.Difference()
		require.LessOrEqual(t, len(theirs)+len(extra), dec.Cells())
		require.GreaterOrEqual(t, dec.More(), 0)
		if !done {
			return
		}
		explained := sketch.NewEncoder(ours).Next(nil, dec.Cells())
		for i, c := range sketch.NewEncoder(theirs).Next(nil, dec.Cells()) {
			explained[i].Merge(c)
		}
		for i, c := range sketch.NewEncoder(extra).Next(nil, dec.Cells()) {
			explained[i].Subtract(c)
		}
		require.Equal(t, cells[:dec.Cells()], explained)
	})
}
