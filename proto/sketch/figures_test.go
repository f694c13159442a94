package sketch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/sketch"
)

// replace makes a copy in which the first n tags are others: n rows with other values.
func replace(r *rand.Rand, tags []uint64, n int) []uint64 {
	return append(randomTags(r, n), tags[n:]...)
}

// What a repair costs, of a million rows: the cells of one differing key and of a thousand, as they are sent.
func TestFiguresByBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	theirs := randomTags(r, 1_000_000)
	for _, x := range []struct{ keys, cellsMax, bytesMax, tripsMax int }{{1, 64, 1200, 1}, {1000, 3400, 45_000, 8}} {
		dec, bytes, trips, err := reconcile(theirs, replace(r, theirs, x.keys))
		require.NoError(t, err)
		lack, extra := dec.Difference()
		require.Len(t, lack, x.keys)
		require.Len(t, extra, x.keys)
		t.Logf("%d differing keys: %d cells, %d bytes, %d requests", x.keys, dec.Cells(), bytes, trips)
		require.LessOrEqual(t, dec.Cells(), x.cellsMax)
		require.LessOrEqual(t, bytes, x.bytesMax)
		require.LessOrEqual(t, trips, x.tripsMax)
	}
}

// cellsNeeded is how many cells it takes when they come one by one.
func cellsNeeded(tb testing.TB, r *rand.Rand, differences int) int {
	theirs := randomTags(r, differences)
	dec := sketch.NewDecoder(nil)
	cells := sketch.NewEncoder(theirs).Next(nil, 8*differences+64)
	for i := range cells {
		if done, err := dec.Add(cells[i : i+1]); err != nil || done {
			require.NoError(tb, err)
			return i + 1
		}
	}
	tb.Fatalf("%d differences are not decoded by %d cells", differences, len(cells))
	return 0
}

// From 100 differences on it takes 1.35 to 1.5 cells each.
func TestCellsPerDifference(t *testing.T) {
	for _, x := range []struct {
		differences, times int
		least, most        float64
	}{{1, 20, 1, 1}, {10, 200, 1.3, 2}, {100, 100, 1.3, 1.5}, {1000, 10, 1.3, 1.45}, {3000, 3, 1.3, 1.42}} {
		r := rand.New(rand.NewPCG(11, uint64(x.differences)))
		sum := 0
		for range x.times {
			sum += cellsNeeded(t, r, x.differences)
		}
		mean := float64(sum) / float64(x.times*x.differences)
		t.Logf("%d differences: %.3f cells each", x.differences, mean)
		require.GreaterOrEqual(t, mean, x.least, "%d differences", x.differences)
		require.LessOrEqual(t, mean, x.most, "%d differences", x.differences)
	}
}

// What a decoder asks for is not much more than it takes, whatever the difference, also a lopsided one.
func TestMoreAsksForLittleTooMuch(t *testing.T) {
	for _, x := range []struct{ theirs, ours, times int }{{50, 50, 20}, {300, 300, 20}, {1000, 1000, 20}, {2000, 0, 10}, {0, 3000, 5}, {20_000, 20_000, 1}} {
		r := rand.New(rand.NewPCG(12, uint64(x.theirs)))
		cells, worst, trips := 0, 0, 0
		for range x.times {
			common := randomTags(r, 5000)
			dec, _, n, err := reconcile(append(randomTags(r, x.theirs), common...), append(randomTags(r, x.ours), common...))
			require.NoError(t, err)
			cells, worst, trips = cells+dec.Cells(), max(worst, dec.Cells()), max(trips, n)
		}
		d := float64(x.theirs + x.ours)
		mean := float64(cells) / float64(x.times) / d
		t.Logf("%d and %d: %.2f cells each, at worst %.2f, at most %d requests", x.theirs, x.ours, mean, float64(worst)/d, trips)
		require.Less(t, mean, 1.6)
		require.Less(t, float64(worst)/d, 2.0)
		require.LessOrEqual(t, trips, 12)
	}
}

func BenchmarkEncode(b *testing.B) {
	tags := randomTags(rand.New(rand.NewPCG(13, 14)), 1_000_000)
	for _, n := range []int{64, 3000} {
		b.Run(fmt.Sprintf("cells=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sketch.NewEncoder(tags).Next(nil, n)
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(each/float64(len(tags)), "ns/tag")
			b.ReportMetric(each/float64(n), "ns/cell")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{1, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("differences=%d", n), func(b *testing.B) {
			tags := randomTags(rand.New(rand.NewPCG(15, 16)), n)
			cells := sketch.NewEncoder(tags).Next(nil, 2*n+16)
			b.ReportAllocs()
			for b.Loop() {
				done, err := sketch.NewDecoder(nil).Add(cells)
				require.NoError(b, err)
				require.True(b, done)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/difference")
		})
	}
}

// Cells that it takes, one by one, by the size of the difference.
func BenchmarkCellsPerDifference(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("differences=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(17, 18))
			sum := 0
			for b.Loop() {
				sum += cellsNeeded(b, r, n)
			}
			b.ReportMetric(float64(sum)/float64(b.N)/float64(n), "cells/difference")
		})
	}
}
