package sketch

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// unmix is the inverse of mix.
func unmix(x uint64) uint64 {
	x ^= x>>31 ^ x>>62
	x *= 0x319642b2d24d8ec3 // of 0x94d049bb133111eb, mod 2^64
	x ^= x>>27 ^ x>>54
	x *= 0x96de1b173f119089 // of 0xbf58476d1ce4e5b9
	return x ^ x>>30 ^ x>>60
}

// A tag goes on to a later cell however its numbers fall: by one at least, and beyond the last cell to none, where the distance would not fit.
func TestTheNextCellIsALaterOne(t *testing.T) {
	for _, i := range []uint32{0, 1, 2, 3, 100, 4095, 65_536, 1<<19 + 7, CellsMax - 3, CellsMax - 2} {
		n := uint64(i) + 1
		require.Equal(t, uint64(12345), mix(unmix(12345)))
		shortest := unmix(math.MaxUint64) ^ n*indexKey
		require.Equal(t, i+1, next(shortest, i))
		longest := unmix(0) ^ n*indexKey
		require.EqualValues(t, CellsMax, next(longest, i))
	}
}

// However cells lie, there are no more tags than cells.
func TestMoreTagsThanCells(t *testing.T) {
	cells := NewEncoder([]uint64{42}).Next(nil, 1)
	d := &Decoder{cells: cells, found: make([]found, 1), queue: []uint32{0}, seen: map[uint64]struct{}{}}
	require.ErrorIs(t, d.peel(), ErrCorrupt)
}

// Counts that no set has make an estimate that is a number, and a request that is one.
func TestEstimateOfAbsurdCounts(t *testing.T) {
	for _, counts := range [][]int64{{math.MaxInt64, math.MinInt64, math.MaxInt64}, {math.MinInt64, 0, 0}, {0, math.MaxInt64, math.MaxInt64}} {
		d := NewDecoder(nil)
		cells := make([]Cell, FirstCells)
		for i, count := range counts {
			cells[i].Count, cells[i].Sum = count, 1
		}
		_, err := d.Add(cells)
		require.NoError(t, err)
		require.Positive(t, d.Estimate())
		require.LessOrEqual(t, d.Estimate(), 1<<40)
		require.Equal(t, CellsMax-FirstCells, d.More())
	}
}
