package sketch

import "math"

// CellsMax is the number of cells that a sketch has at most. Beyond it, the tags themselves are cheaper or the difference is better sent whole.
const CellsMax = 1 << 20

// Cell is one coded cell of a set, or of a difference of sets.
type Cell struct {
	Sum   uint64 // xor of the tags
	Check uint32 // xor of their checks
	Count int64  // tags; in a difference those of one set less those of the other
}

// Merge adds the cell with the same index of a disjoint set: the result is that of both together.
func (c *Cell) Merge(o Cell) {
	c.Sum ^= o.Sum
	c.Check ^= o.Check
	c.Count += o.Count
}

// Subtract takes away the cell with the same index of another set.
func (c *Cell) Subtract(o Cell) {
	c.Sum ^= o.Sum
	c.Check ^= o.Check
	c.Count -= o.Count
}

func (c *Cell) put(tag uint64, check uint32, count int64) {
	c.Sum ^= tag
	c.Check ^= check
	c.Count += count
}

const (
	checkKey = 0x6b65796672616d65
	indexKey = 0x9e3779b97f4a7c15
)

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func checkOf(tag uint64) uint32 { return uint32(mix(tag^checkKey) >> 32) }

// next is the index of the cell behind cell i that a tag is in; CellsMax: none that counts. Each floating-point operation rounds to a double by
// itself on every machine: no sum here has a product in it, which a compiler may fuse.
func next(tag uint64, i uint32) uint32 {
	n := uint64(i) + 1
	u := float64(mix(tag^n*indexKey)>>11+1) * 0x1p-53 // in (0, 1]
	j := math.Ceil(math.Sqrt(float64(n*(n+1))/u+0.25) - 1.5)
	switch {
	case j <= float64(i):
		return i + 1
	case j >= CellsMax:
		return CellsMax
	}
	return uint32(j)
}

// hits says whether a tag is in cell i.
func hits(tag uint64, i uint32) bool {
	at := uint32(0)
	for at < i {
		at = next(tag, at)
	}
	return at == i
}

// expected is the number of tags of a set of so many rows that cell i has on average, rounded down.
func expected(rows int64, i int) int64 {
	whole, rest := rows/int64(i+2), rows%int64(i+2) // 2*rows may not fit
	return 2*whole + 2*rest/int64(i+2)
}
