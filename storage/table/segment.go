package table

import (
	"encoding/binary"
)

// segment describes the rows in [lo, hi) of TableRows. Segments are disjoint, and every row lies in one.
type segment struct {
	lo, hi int64
	rows   int64 // stored, dead ones included
	dead   int64
	vector []byte // the dead offsets: encoded as by appendOffsets from lo; aliases what it was decoded from
}

const segmentVersion = 1

func appendSegment(b []byte, s *segment) []byte {
	b = append(b, segmentVersion)
	b = binary.AppendUvarint(b, uint64(s.hi-s.lo))
	b = binary.AppendUvarint(b, uint64(s.rows))
	b = binary.AppendUvarint(b, uint64(s.dead))
	return seal(append(b, s.vector...))
}

func decodeSegment(ordinal uint32, lo int64, b []byte) (s segment, err error) {
	b, err = unseal(ordinal, "segment", lo, b, segmentVersion)
	if err != nil {
		return s, err
	}
	r := reader{b: b}
	s.lo = lo
	s.hi = lo + r.offset()
	s.rows, s.dead = r.offset(), r.offset()
	s.vector = r.b
	if r.bad || s.hi < lo || s.dead > s.rows || s.rows > s.hi-s.lo {
		return s, &CorruptError{Ordinal: ordinal, What: "segment", Offset: lo, Why: "malformed"}
	}
	return s, nil
}

// appendOffsets appends ascending offsets as uvarints, each the distance to the one before; the first is the distance to base.
func appendOffsets(b []byte, base int64, offsets []int64) []byte {
	for _, o := range offsets {
		b = binary.AppendUvarint(b, uint64(o-base))
		base = o
	}
	return b
}

// offsets iterates over what appendOffsets wrote.
type offsets struct {
	b    []byte
	at   int64 // the current offset
	ok   bool
	bad  bool
	base int64
}

func newOffsets(base int64, b []byte) offsets {
	o := offsets{b: b, base: base, at: base}
	o.next()
	return o
}

func (o *offsets) next() {
	if len(o.b) == 0 {
		o.ok = false
		return
	}
	d, n := binary.Uvarint(o.b)
	if n <= 0 || d > 1<<63-1 || o.at+int64(d) < o.at {
		o.ok, o.bad = false, true
		return
	}
	o.b, o.at, o.ok = o.b[n:], o.at+int64(d), true
}
