package sketch

import (
	"encoding/binary"
	"fmt"
)

const fixedBytes = 12 // of a cell, before the count

// Append encodes cells of a set of so many rows, the first of which has the index given.
func Append(b []byte, first int, rows int64, cells []Cell) []byte {
	for i, c := range cells {
		b = binary.BigEndian.AppendUint64(b, c.Sum)
		b = binary.BigEndian.AppendUint32(b, c.Check)
		b = binary.AppendVarint(b, c.Count-expected(rows, first+i))
	}
	return b
}

// Parse decodes what Append made. It takes two bytes of memory for each that it is given, and at most CellsMax cells. Errors: ErrCorrupt, also for
// counts that no set of so many rows has; ErrTooManyCells.
func Parse(b []byte, first int, rows int64) ([]Cell, error) {
	if first < 0 || rows < 0 {
		return nil, fmt.Errorf("%w: cells from %d on of %d rows", ErrCorrupt, first, rows)
	}
	cells := make([]Cell, 0, min(len(b)/(fixedBytes+1), CellsMax))
	for i := first; len(b) > 0; i++ {
		if i >= CellsMax {
			return nil, ErrTooManyCells
		}
		if len(b) < fixedBytes+1 {
			return nil, fmt.Errorf("%w: cell %d ends after %d bytes", ErrCorrupt, i, len(b))
		}
		c := Cell{Sum: binary.BigEndian.Uint64(b), Check: binary.BigEndian.Uint32(b[8:])}
		off, n := binary.Varint(b[fixedBytes:])
		if n <= 0 || n > 1 && b[fixedBytes+n-1] == 0 {
			return nil, fmt.Errorf("%w: cell %d has no count in shortest form", ErrCorrupt, i)
		}
		b = b[fixedBytes+n:]
		mean := expected(rows, i)
		if off < -mean || off > rows-mean || i == 0 && off != 0 {
			return nil, fmt.Errorf("%w: cell %d has a count that is %d off the expected, of %d rows", ErrCorrupt, i, off, rows)
		}
		c.Count = mean + off
		cells = append(cells, c)
	}
	return cells, nil
}
