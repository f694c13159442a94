package table

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

const (
	vectorVersion    = 1
	tombstoneVersion = 1 // of a TableTombstones value: version, key
)

// writeVector stores the ascending offsets that the fold ending at end superseded, in pieces, so that a scan holds one piece of each
// vector and not the whole.
func writeVector(s *sink, ordinal uint32, end int64, offsets []int64) {
	var k, v []byte
	for len(offsets) > 0 {
		n := min(len(offsets), s.db.sizes.pieceLen)
		k = keys.AppendTableVector(k[:0], ordinal, end, offsets[0])
		v = appendPiece(v[:0], offsets[:n])
		s.set(keys.TableVectors, k, v)
		offsets = offsets[n:]
	}
}

// appendPiece appends what is stored of one piece.
func appendPiece(b []byte, offsets []int64) []byte {
	return seal(appendOffsets(append(b, vectorVersion), offsets[0], offsets))
}

func putSegment(s *sink, ordinal uint32, g *segment) {
	s.set(keys.TableSegments, keys.AppendTableOffset(nil, keys.TableSegments, ordinal, g.lo), appendSegment(nil, g))
}

// cursor walks over one ascending list of dead offsets, which is stored in pieces: the vector of one fold, or what the segments
// hold. It keeps one piece in memory.
type cursor struct {
	offsets
	piece []byte
	// end names the fold; -1 for the segments
	end  int64
	next int64 // the next piece begins at or above
}

// standing says of which superseded rows a reader knows: those that no frame from cut on shows, if they are settled, and those that folds ending at or
// below folded superseded. For who reads a frame, both are its cut.
type standing struct{ cut, folded int64 }

func frameAt(cut int64) standing { return standing{cut, cut} }

// deadList merges all that is dead in a frame, for a reader that goes through the offsets upwards. One iterator serves all vectors.
type deadList struct {
	ordinal  uint32
	cut      int64     // of settled rows, those of lower cuts are dead
	segments *spanIter // nil: they are not looked at
	vectors  *spanIter
	cursors  []*cursor
	k        []byte
}

// newDeadList prepares what is dead at or above from. base is cloned.
func newDeadList(base *pebble.Iterator, ordinal uint32, from int64, as standing) (*deadList, error) {
	l, err := openDeadList(base, ordinal)
	if err != nil {
		return nil, err
	}
	l.cut = as.cut
	lower, upper := spaceSpan(keys.TableSegments, ordinal)
	if l.segments, err = cloneSpan(base, lower, upper); err == nil {
		err = l.openSegments(from)
	}
	if err == nil {
		err = l.openVectors(from, 0, as.folded)
	}
	if err != nil {
		return nil, damage.Join(err, l.close())
	}
	return l, nil
}

// newVectorList prepares the vectors of folds that ended in [first, end], without what the segments hold.
func newVectorList(base *pebble.Iterator, ordinal uint32, first, end int64) (*deadList, error) {
	l, err := openDeadList(base, ordinal)
	if err != nil {
		return nil, err
	}
	if err := l.openVectors(0, first, end); err != nil {
		return nil, damage.Join(err, l.close())
	}
	return l, nil
}

func openDeadList(base *pebble.Iterator, ordinal uint32) (*deadList, error) {
	lower, upper := spaceSpan(keys.TableVectors, ordinal)
	it, err := cloneSpan(base, lower, upper)
	return &deadList{ordinal: ordinal, vectors: it}, err
}

func (l *deadList) close() (err error) {
	if l.segments != nil {
		err = l.segments.Close()
	}
	return damage.Join(err, l.vectors.Close())
}

// openSegments starts with the segment that holds from.
func (l *deadList) openSegments(from int64) error {
	c := &cursor{end: -1, next: from}
	if l.segments.SeekLT(keys.AppendTableOffset(nil, keys.TableSegments, l.ordinal, from+1)) {
		lo, err := l.offsetOf(l.segments)
		if err != nil {
			return err
		}
		c.next = lo
	} else if err := damage.Of(l.segments.Error()); err != nil {
		return err
	}
	return l.add(c, from)
}

// openVectors finds every vector of folds that ended in [first, end]; of each, the piece that may hold from.
func (l *deadList) openVectors(from, first, end int64) error {
	for fold := first; fold <= end; {
		if !l.vectors.SeekGE(keys.AppendTableOffset(l.k[:0], keys.TableVectors, l.ordinal, fold)) {
			return damage.Of(l.vectors.Error())
		}
		at, err := l.offsetOf(l.vectors)
		if err != nil {
			return err
		}
		if at > end {
			return nil
		}
		c := &cursor{end: at, next: 0}
		// The last piece that begins at or below from, if the vector has one.
		if l.vectors.SeekLT(keys.AppendTableVector(l.k[:0], l.ordinal, at, from+1)) {
			if rest := l.vectors.Key()[keys.TablePrefixLen:]; len(rest) == 16 {
				if e, _ := keys.ParseTableOffset(rest); e == at {
					c.next, _ = keys.ParseTableOffset(rest[8:])
				}
			}
		} else if err := damage.Of(l.vectors.Error()); err != nil {
			return err
		}
		if err := l.add(c, from); err != nil {
			return err
		}
		fold = at + 1
	}
	return nil
}

// offsetOf reads the offset after the prefix of the key that an iterator stands at.
func (l *deadList) offsetOf(it *spanIter) (int64, error) {
	o, good := keys.ParseTableOffset(it.Key()[keys.TablePrefixLen:])
	if !good {
		return 0, &CorruptError{Ordinal: l.ordinal, What: "key", Offset: -1, Why: "malformed"}
	}
	return o, nil
}

// add keeps a cursor that has something at or above from.
func (l *deadList) add(c *cursor, from int64) error {
	if err := l.load(c); err != nil {
		return err
	}
	for c.ok && c.at < from {
		if err := l.advance(c); err != nil {
			return err
		}
	}
	if c.ok {
		l.cursors = append(l.cursors, c)
	}
	return nil
}

// advance moves a cursor on; at the end of its list, it is not ok.
func (l *deadList) advance(c *cursor) error {
	c.offsets.next()
	if c.ok {
		return nil
	}
	return l.load(c)
}

// load reads pieces until one has an offset.
func (l *deadList) load(c *cursor) error {
	for !c.ok {
		if c.bad {
			return &CorruptError{Ordinal: l.ordinal, What: "deletion vector", Offset: c.at, Why: "malformed"}
		}
		found, err := l.piece(c)
		if err != nil || !found {
			return err
		}
	}
	return nil
}

func (l *deadList) piece(c *cursor) (found bool, err error) {
	it := l.vectors
	if c.end < 0 {
		it = l.segments
		l.k = keys.AppendTableOffset(l.k[:0], keys.TableSegments, l.ordinal, c.next)
	} else {
		l.k = keys.AppendTableVector(l.k[:0], l.ordinal, c.end, c.next)
	}
	if !it.SeekGE(l.k) {
		return false, damage.Of(it.Error())
	}
	rest := it.Key()[keys.TablePrefixLen:]
	first, good := keys.ParseTableOffset(rest)
	if c.end >= 0 {
		if !good || len(rest) != 16 || first != c.end {
			return false, nil
		}
		first, good = keys.ParseTableOffset(rest[8:])
	}
	if !good {
		return false, &CorruptError{Ordinal: l.ordinal, What: "key", Offset: -1, Why: "malformed"}
	}
	c.next = first + 1
	v, err := it.ValueAndErr()
	if err != nil {
		return false, fmt.Errorf("table: read deletion vector of ordinal %d: %w", l.ordinal, err)
	}
	c.piece = append(c.piece[:0], v...)
	if c.end >= 0 {
		b, err := unseal(l.ordinal, "deletion vector", first, c.piece, vectorVersion)
		c.offsets = newOffsets(first, b)
		return true, err
	}
	g, err := decodeSegment(l.ordinal, first, c.piece)
	c.offsets = newDead(first, g.dead, l.cut)
	return true, err
}

// below calls fn for every dead offset below limit that was not passed yet, list by list. end names the fold that superseded it; -1: the segments have it.
func (l *deadList) below(limit int64, fn func(offset, end int64)) error {
	kept := l.cursors[:0]
	for _, c := range l.cursors {
		for c.ok && c.at < limit {
			fn(c.at, c.end)
			if err := l.advance(c); err != nil {
				return err
			}
		}
		if c.ok {
			kept = append(kept, c)
		}
	}
	l.cursors = kept
	return nil
}
