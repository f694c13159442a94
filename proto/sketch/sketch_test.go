package sketch_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/sketch"
)

// Any two sets, their cells taken in any pieces: the difference is the one that a naive comparison finds, and not a cell is left over.
func TestAnyTwoSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tag := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 300)) // random ones, and neighbours
		sets := make([][]uint64, 3)
		for i, name := range []string{"theirs", "ours", "common"} {
			sets[i] = rapid.SliceOfN(tag, 0, 80).Draw(t, name)
		}
		side := map[uint64]int{}
		for i := range sets {
			for _, x := range sets[i] {
				side[x] |= []int{1, 2, 3}[i]
			}
		}
		var theirs, ours, onlyTheirs, onlyOurs []uint64
		for x, of := range side {
			if of&1 != 0 {
				theirs = append(theirs, x)
			}
			if of&2 != 0 {
				ours = append(ours, x)
			}
			switch of {
			case 1:
				onlyTheirs = append(onlyTheirs, x)
			case 2:
				onlyOurs = append(onlyOurs, x)
			}
		}
		enc, dec := sketch.NewEncoder(theirs), sketch.NewDecoder(ours)
		for done := false; !done; {
			first, n := enc.At(), rapid.IntRange(1, 100).Draw(t, "cells")
			require.Less(t, first, 2000, "%d differences", len(onlyTheirs)+len(onlyOurs))
			cells, err := sketch.Parse(sketch.Append(nil, first, int64(len(theirs)), enc.Next(nil, n)), first, int64(len(theirs)))
			require.NoError(t, err)
			require.Len(t, cells, n)
			done, err = dec.Add(cells)
			require.NoError(t, err)
		}
		gotTheirs, gotOurs := dec.Difference()
		require.ElementsMatch(t, onlyTheirs, gotTheirs)
		require.ElementsMatch(t, onlyOurs, gotOurs)
		require.Zero(t, dec.More())
	})
}

// The cells of disjoint sets add up to those of all tags together, and those of a part, subtracted, leave the rest.
func TestCellsAreLinear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		n := rapid.IntRange(1, 300).Draw(t, "cells")
		parts := [][]uint64{}
		all := []uint64{}
		sum := make([]sketch.Cell, n)
		for range rapid.IntRange(1, 5).Draw(t, "partitions") {
			part := randomTags(r, r.IntN(100))
			parts = append(parts, part)
			all = append(all, part...)
			for i, c := range sketch.NewEncoder(part).Next(nil, n) {
				sum[i].Merge(c)
			}
		}
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		require.Equal(t, sketch.NewEncoder(all).Next(nil, n), sum)

		for i, c := range sketch.NewEncoder(parts[0]).Next(nil, n) {
			sum[i].Subtract(c)
		}
		require.Equal(t, sketch.NewEncoder(slices.Concat(parts[1:]...)).Next(nil, n), sum)
	})
}

// One sequence of cells serves everybody, in whatever pieces it was made.
func TestPrefixIsReusable(t *testing.T) {
	tags := randomTags(rand.New(rand.NewPCG(1, 2)), 1000)
	whole := sketch.NewEncoder(tags).Next(nil, 500)
	enc := sketch.NewEncoder(tags)
	var pieces []sketch.Cell
	for _, n := range []int{1, 1, 62, 0, 36, 400} {
		pieces = enc.Next(pieces, n)
	}
	require.Equal(t, whole, pieces)
	require.Equal(t, 500, enc.At())
}

// Cell i holds each tag with probability 1/(1+i/2): one less or more dense decodes late, or never.
func TestDensity(t *testing.T) {
	const rows = 200_000
	cells := sketch.NewEncoder(randomTags(rand.New(rand.NewPCG(3, 4)), rows)).Next(nil, 4096)
	require.EqualValues(t, rows, cells[0].Count)
	for from := 1; from < len(cells); from *= 2 {
		got, want := 0.0, 0.0
		for i := from; i < 2*from && i < len(cells); i++ {
			got += float64(cells[i].Count)
			want += rows / (1 + float64(i)/2)
		}
		require.InEpsilon(t, want, got, 0.01, "cells from %d on", from)
	}
}

// Tags whose xor is that of one tag, or nothing, are not taken for it: their checks are not linear.
func TestTagsDoNotCancel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		ours := randomTags(r, 3)
		ours = append(ours, ours[0]^ours[1]^ours[2]) // xor of all is 0
		theirs := randomTags(r, 3)                   // one more than ours less two: a count of 1 somewhere
		dec, _, _, err := reconcile(theirs, ours)
		require.NoError(t, err)
		gotTheirs, gotOurs := dec.Difference()
		require.ElementsMatch(t, theirs, gotTheirs)
		require.ElementsMatch(t, ours, gotOurs)

		dec = sketch.NewDecoder(ours)
		done, err := dec.Add(sketch.NewEncoder(nil).Next(nil, 1))
		require.NoError(t, err)
		require.False(t, done, "four tags are left in the cell")
	}
}

// A tag that is twice in a set is twice in its cells: where both copies are on both sides they cancel, and where one differs it is found.
func TestTagsThatTwoRowsShare(t *testing.T) {
	tags := randomTags(rand.New(rand.NewPCG(7, 8)), 50)
	twice := append(slices.Clone(tags), tags[0])
	dec, _, _, err := reconcile(twice, append(slices.Clone(twice), 99))
	require.NoError(t, err)
	theirs, ours := dec.Difference()
	require.Empty(t, theirs)
	require.Equal(t, []uint64{99}, ours)

	dec, _, _, err = reconcile(twice, tags)
	require.NoError(t, err)
	theirs, _ = dec.Difference()
	require.Equal(t, tags[:1], theirs)
}
