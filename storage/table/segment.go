package table

import (
	"encoding/binary"
	"math"
	"slices"
)

// segment describes the rows in [lo, hi) of TableRows. Segments are disjoint, and every row lies in one.
type segment struct {
	lo, hi  int64
	rows    int64 // stored, dead ones included
	gone    int64 // dead in every frame; may be missing
	settled int64 // dead in newer frames alone; are there
	// dead are the offsets of both; it aliases what it was decoded from.
	dead deadCode
}

// deadCode is a list of dead rows as it is stored: ascending offsets, each the distance from the one before as a uvarint, the first from a base.
// Where there are cuts, which ascend, each is followed by the uvarint 0, if the row is gone, or 1 + the place of its cut.
type deadCode struct {
	cuts []int64
	b    []byte
}

// deadRow is a row that was superseded. Frames above cut do not show it.
type deadRow struct {
	offset int64
	cut    int64 // or gone; 0: no frame shows it, and it is kept for View.Left
}

// gone stands for the cut of a row that nobody needs.
const gone = int64(-1)

const (
	segmentVersion = 2
	segmentPlain   = 1 // has no settled rows: it is read
)

func appendSegment(b []byte, s *segment) []byte {
	b = append(b, segmentVersion)
	for _, v := range [...]int64{s.hi - s.lo, s.rows, s.gone, s.settled, int64(len(s.dead.cuts))} {
		b = binary.AppendUvarint(b, uint64(v))
	}
	b = appendOffsets(b, 0, s.dead.cuts)
	return seal(append(b, s.dead.b...))
}

func decodeSegment(ordinal uint32, lo int64, b []byte) (s segment, err error) {
	version := byte(segmentVersion)
	if len(b) > 0 && b[0] == segmentPlain {
		version = segmentPlain
	}
	b, err = unseal(ordinal, "segment", lo, b, version)
	if err != nil {
		return s, err
	}
	r := reader{b: b}
	s.lo = lo
	s.hi = lo + r.offset()
	s.rows, s.gone = r.offset(), r.offset()
	if version != segmentPlain {
		s.settled = r.offset()
		s.dead.cuts = readCuts(&r, s.settled)
	}
	s.dead.b = r.b
	if r.bad || s.hi < lo || s.gone > s.rows || s.settled > s.rows-s.gone || s.rows > s.hi-s.lo {
		return s, &CorruptError{Ordinal: ordinal, What: "segment", Offset: lo, Why: "malformed"}
	}
	return s, nil
}

// readCuts reads ascending cuts, no more than rows.
func readCuts(r *reader, rows int64) (cuts []int64) {
	n := r.offset()
	if n > rows || n > int64(len(r.b)) {
		r.bad = true
		return nil
	}
	last := int64(0)
	for range n {
		d := r.offset()
		if d > math.MaxInt64-last || d == 0 && len(cuts) > 0 {
			r.bad = true
			return nil
		}
		last += d
		cuts = append(cuts, last)
	}
	return cuts
}

// deadRows is how many of the rows are dead in the newest frame.
func (s *segment) deadRows() int64 { return s.gone + s.settled }

// list decodes the dead rows.
func (s *segment) list(ordinal uint32) ([]deadRow, error) {
	list := make([]deadRow, 0, min(s.deadRows(), int64(len(s.dead.b))))
	n := int64(0)
	o := newDead(s.lo, s.dead, math.MaxInt64)
	for ; o.ok; o.next() {
		list = append(list, deadRow{o.at, o.cut})
		if o.cut == gone {
			n++
		}
	}
	if o.bad || n != s.gone || int64(len(list)) != s.deadRows() {
		return nil, &CorruptError{Ordinal: ordinal, What: "segment", Offset: s.lo, Why: "dead offsets malformed"}
	}
	return list, nil
}

// setDead makes these the dead rows, in ascending order.
func (s *segment) setDead(list []deadRow) {
	list = slices.CompactFunc(list, func(a, b deadRow) bool { return a.offset == b.offset })
	s.gone, s.settled, s.dead = 0, 0, deadCode{}
	last := gone
	for _, d := range list {
		if d.cut == gone {
			s.gone++
			continue
		}
		s.settled++
		if d.cut == last {
			continue
		}
		last = d.cut
		if i, found := slices.BinarySearch(s.dead.cuts, d.cut); !found {
			s.dead.cuts = slices.Insert(s.dead.cuts, i, d.cut)
		}
	}
	at, place := s.lo, 0
	last = gone
	for _, d := range list {
		s.dead.b = binary.AppendUvarint(s.dead.b, uint64(d.offset-at))
		at = d.offset
		if len(s.dead.cuts) == 0 {
			continue
		}
		if d.cut != last {
			if last, place = d.cut, 0; d.cut != gone {
				i, _ := slices.BinarySearch(s.dead.cuts, d.cut)
				place = i + 1
			}
		}
		s.dead.b = binary.AppendUvarint(s.dead.b, uint64(place))
	}
}

// appendOffsets appends ascending offsets as uvarints, each the distance to the one before; the first is the distance to base.
func appendOffsets(b []byte, base int64, offsets []int64) []byte {
	for _, o := range offsets {
		b = binary.AppendUvarint(b, uint64(o-base))
		base = o
	}
	return b
}

// offsets iterates over what appendOffsets wrote, or over the dead rows of a segment.
type offsets struct {
	deadCode
	below int64 // rows of this cut and above are passed by
	at    int64 // the current offset
	cut   int64 // of the current row
	ok    bool
	bad   bool
}

func newOffsets(base int64, b []byte) offsets { return newDead(base, deadCode{b: b}, math.MaxInt64) }

func newDead(base int64, c deadCode, below int64) offsets {
	o := offsets{deadCode: c, below: below, at: base}
	o.next()
	return o
}

func (o *offsets) next() {
	for o.ok = false; len(o.b) > 0; {
		d, n := binary.Uvarint(o.b)
		if n <= 0 || d > 1<<63-1 || o.at+int64(d) < o.at {
			o.bad = true
			return
		}
		o.b, o.at, o.cut = o.b[n:], o.at+int64(d), gone
		if len(o.cuts) > 0 {
			i, n := binary.Uvarint(o.b)
			if n <= 0 || i > uint64(len(o.cuts)) {
				o.bad = true
				return
			}
			if o.b = o.b[n:]; i > 0 {
				o.cut = o.cuts[i-1]
			}
		}
		if o.cut < o.below {
			o.ok = true
			return
		}
	}
}
