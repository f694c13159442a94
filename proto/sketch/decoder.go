package sketch

import (
	"errors"
	"fmt"
	"math"
)

// ErrCorrupt is returned for cells that cannot be those of a set, or bytes that cannot be cells.
var ErrCorrupt = errors.New("sketch: corrupt")

// ErrTooManyCells is returned where CellsMax cells do not suffice.
var ErrTooManyCells = fmt.Errorf("sketch: more than %d cells", CellsMax)

// FirstCells is how many cells a decoder asks for first: enough for a few dozen differences.
const FirstCells = 64

// Decoder finds the difference between a set of its own and one that it gets the cells of. It belongs to one goroutine.
type Decoder struct {
	own   *Encoder
	cells []Cell // of the difference, less what was found
	queue []uint32
	found []found
	seen  map[uint64]struct{} // tags in found
	done  bool
	err   error
}

// found is a tag of the difference.
type found struct {
	tag  uint64
	next uint32 // first cell that it was not taken out of yet
	sign int8   // 1: theirs, -1: own
}

// NewDecoder returns a decoder with a set of its own, which it keeps and does not change.
func NewDecoder(own []uint64) *Decoder {
	return &Decoder{own: NewEncoder(own), seen: map[uint64]struct{}{}}
}

// Cells is how many cells were added.
func (d *Decoder) Cells() int { return len(d.cells) }

// Add takes the next cells of the other set and decodes as far as they allow. done says that the difference is complete; cells that come after
// that are ignored. Errors, which are final: ErrCorrupt, ErrTooManyCells.
func (d *Decoder) Add(cells []Cell) (done bool, err error) {
	if d.done || d.err != nil {
		return d.done, d.err
	}
	if len(cells) > CellsMax-len(d.cells) {
		d.err = ErrTooManyCells
		return false, d.err
	}
	first := len(d.cells)
	d.cells = append(d.cells, cells...)
	d.own.visit(len(cells), -1, d.cells[first:])
	for i := range d.found {
		d.takeOut(&d.found[i], false)
	}
	for i := first; i < len(d.cells); i++ {
		d.mayBeSingle(uint32(i))
	}
	if d.err = d.peel(); d.err != nil {
		return false, d.err
	}
	if d.done, d.err = d.complete(); d.err == nil && !d.done && len(d.cells) == CellsMax {
		d.err = ErrTooManyCells
	}
	return d.done, d.err
}

func (d *Decoder) mayBeSingle(i uint32) {
	if c := &d.cells[i]; c.Count == 1 || c.Count == -1 {
		d.queue = append(d.queue, i)
	}
}

// takeOut takes a tag out of the cells from its next on.
func (d *Decoder) takeOut(f *found, look bool) {
	check, end := checkOf(f.tag), uint32(len(d.cells))
	for ; f.next < end; f.next = next(f.tag, f.next) {
		d.cells[f.next].put(f.tag, check, -int64(f.sign))
		if look {
			d.mayBeSingle(f.next)
		}
	}
}

// peel takes out single tags while there are any. Cells that lie could have it go round in circles, the same tag out, in and out again: a tag is
// found once.
func (d *Decoder) peel() error {
	for len(d.queue) > 0 {
		i := d.queue[len(d.queue)-1]
		d.queue = d.queue[:len(d.queue)-1]
		c := d.cells[i]
		if c.Count != 1 && c.Count != -1 || c.Check != checkOf(c.Sum) || !hits(c.Sum, i) {
			continue
		}
		if _, again := d.seen[c.Sum]; again {
			return fmt.Errorf("%w: tag %016x is found twice", ErrCorrupt, c.Sum)
		}
		if len(d.found) == len(d.cells) {
			return fmt.Errorf("%w: %d cells have more tags", ErrCorrupt, len(d.cells))
		}
		d.seen[c.Sum] = struct{}{}
		f := found{tag: c.Sum, sign: int8(c.Count)}
		d.takeOut(&f, true)
		d.found = append(d.found, f)
	}
	return nil
}

// complete says whether nothing is left.
func (d *Decoder) complete() (bool, error) {
	if len(d.cells) == 0 || d.cells[0] != (Cell{}) {
		return false, nil
	}
	for i := range d.cells {
		if d.cells[i] != (Cell{}) {
			return false, fmt.Errorf("%w: nothing is left in cell 0, but in cell %d", ErrCorrupt, i)
		}
	}
	return true, nil
}

// Difference returns the tags found so far, all of them once Add was done: those only in the other set, and those only in the decoder's own.
func (d *Decoder) Difference() (theirs, ours []uint64) {
	for _, f := range d.found {
		if f.sign > 0 {
			theirs = append(theirs, f.tag)
		} else {
			ours = append(ours, f.tag)
		}
	}
	return theirs, ours
}

// Estimate is about how many tags the difference has, from the counts alone. Cell i has Binomial(a, p) - Binomial(b, p) of a tags that are theirs and
// b that are ours, so the square of its distance from the mean (a-b) p, which cell 0 tells, is (a+b) p (1-p) on average.
func (d *Decoder) Estimate() int {
	if len(d.cells) < 2 {
		return len(d.found)
	}
	net := float64(d.cells[0].Count)
	sum := 0.0
	for i := 1; i < len(d.cells); i++ {
		p := 2 / float64(i+2)
		off := float64(d.cells[i].Count) - p*net
		sum += off * off / (p * (1 - p))
	}
	left := sum / float64(len(d.cells)-1)
	return len(d.found) + int(min(max(left, math.Abs(net)), 1<<40))
}

// More is how many cells to ask for next; 0 when it is done or there are none. After the first few the size of the difference is known to some 20 %,
// and it asks for a little less than it is likely to take; what then is missing comes in steps of a thirty-second.
func (d *Decoder) More() int {
	have := len(d.cells)
	if d.done || d.err != nil || have == CellsMax {
		return 0
	}
	if have < FirstCells {
		return FirstCells - have
	}
	factor := 1.36
	if have < 4*FirstCells {
		factor = 1.2
	}
	want := int(factor * float64(d.Estimate()))
	return min(max(want-have, have/32, 16), CellsMax-have)
}
