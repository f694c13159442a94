package table

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

const (
	// damagedMax is how many damaged blocks are passed by: to find out that one is damaged takes Pebble up to a second (it looks for the one
	// bit that explains the checksum).
	damagedMax = 16
	// damagedRun is how many of them may follow one another: more are rather a damaged file.
	damagedRun = 4
	// lostOverhead is how many bytes a row takes in a block at least, beside its key and value: key suffix and trailer, version, time, checksum.
	lostOverhead = 12
)

// Span is a range of offsets, From inclusive, To exclusive.
type Span struct{ From, To int64 }

// LostRow is what the index has of a live row that cannot be read.
type LostRow struct {
	Key    []byte // valid during the call
	Offset int64
	Entry  digest.Entry
}

// Salvage visits the live rows at Position in offset order, as View.Offsets does, and passes by those that lie in damaged blocks: it returns the
// spans in which they were, ascending, for Patch. A span begins behind a row that was visited, and ends before one. No live row beside a damaged
// block is in it, unless another such block follows within what the index says of the rows that one block can have. lost is called for each live row
// in a span, in key order, when the others were visited. known are spans of the same rows that an earlier call returned, which are not tried again.
//
// The error is ErrCorrupt where that does not help: the index (which is read to its end), the segments or the head of a file are damaged, or too
// many blocks. visit and lost
// may return an error, which ends it. Memory: 16 bytes a row once a block is damaged.
func (t *Table) Salvage(known []Span, visit func(*frame.Row) error, lost func(LostRow) error) (f Frame, spans []Span, err error) {
	v, err := t.View(Current)
	if err != nil {
		return f, nil, t.damaged(Current, err)
	}
	defer func() { err = t.damaged(v.f.Cut, damage.Join(err, v.Close())) }()
	s := salvager{v: v, spans: slices.Clone(known)}
	if err = s.run(visit); err == nil {
		err = v.lostIn(s.spans, lost) // also where nothing is lost: the index may be damaged
	}
	return v.f, s.spans, err
}

type salvager struct {
	v       *View
	spans   []Span
	places  []place // of the index, ascending; nil: not needed yet
	damaged int
}

// place is where the index says that a row is, and what it takes there at least.
type place struct {
	offset int64
	bytes  uint32
	live   bool
}

func (s *salvager) run(visit func(*frame.Row) error) error {
	last := int64(-1) // row that was visited
	var stopped error
	fn := func(r *frame.Row) bool {
		if last, stopped = r.Offset, visit(r); stopped != nil {
			return false
		}
		return true
	}
	from := int64(0)
	if n := len(s.spans); n > 0 {
		if err := s.v.besides(s.spans, s.spans[n-1].To, false, fn); err != nil || stopped != nil {
			return cmp.Or(stopped, err)
		}
		from = s.spans[n-1].To
	}
	for {
		_, err := s.v.offsets(from, false, fn)
		if stopped != nil || err == nil || !pebble.IsCorruptionError(err) {
			return cmp.Or(stopped, err)
		}
		to, ferr := s.past(max(last+1, from))
		if ferr != nil {
			return errors.Join(err, ferr)
		}
		s.spans = append(s.spans, Span{max(last+1, from), to})
		from = to
	}
}

// past finds where rows can be read again behind those from an offset on, which cannot.
func (s *salvager) past(from int64) (to int64, err error) {
	if s.places == nil {
		if s.places, err = s.v.places(); err != nil {
			return 0, err
		}
	}
	it, err := s.v.space(keys.TableRows)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := it.Close(); !pebble.IsCorruptionError(cerr) { // it repeats what the last row said that was tried
			err = damage.Join(err, cerr)
		}
	}()
	first, _ := slices.BinarySearchFunc(s.places, from, func(p place, o int64) int { return cmp.Compare(p.offset, o) })
	i := first
	for run := 0; run < damagedRun && s.damaged < damagedMax; run++ {
		s.damaged++
		for size := int64(0); i < len(s.places) && size < s.v.t.db.blockMax(); i++ {
			size += int64(s.places[i].bytes)
		}
		to = s.v.f.Cut
		if i < len(s.places) {
			to = s.places[i].offset
		}
		k := s.v.rowsKey(to)
		switch there := it.SeekGE(k) && bytes.Equal(it.Key(), k); {
		case it.Error() != nil && !pebble.IsCorruptionError(it.Error()):
			return 0, it.Error()
		case it.Error() != nil:
			if i == len(s.places) {
				return 0, it.Error()
			}
		case !there && i < len(s.places):
			return 0, &CorruptError{Ordinal: s.v.t.ordinal, What: "row", Offset: to, Why: "missing"}
		case len(s.spans) > 0 && s.spans[len(s.spans)-1].To == from:
			return to, nil // the row there could be found, and not be visited: it is no block of rows that is damaged
		default:
			return s.nearest(it, s.places[first:i], to)
		}
	}
	return 0, fmt.Errorf("%w: %d blocks cannot be read, and more may be damaged", ErrCorrupt, s.damaged)
}

// nearest goes down from where rows can be read again, while live ones can: superseded rows, whose size the index does not know, may fill most of
// the damaged block, and blocks behind it. Only the last row that it tries cannot be read, since to find that out takes long. Tombstones do not
// count: they were not visited, and may lie before the block.
func (s *salvager) nearest(it *spanIter, places []place, to int64) (int64, error) {
	for _, p := range slices.Backward(places) {
		if !p.live {
			continue
		}
		k := s.v.rowsKey(p.offset)
		there := it.SeekGE(k) && bytes.Equal(it.Key(), k)
		err := it.Error()
		if there {
			_, err = it.ValueAndErr()
		}
		if err != nil && !pebble.IsCorruptionError(err) {
			return 0, err
		}
		if err != nil || !there {
			break
		}
		to = p.offset
	}
	return to, nil
}

// blockMax is how large a block of rows is at most; one row alone may be larger.
func (db *DB) blockMax() (n int64) {
	for i := range db.cfg.Options.Levels {
		n = max(n, int64(db.cfg.Options.Levels[i].BlockSize))
	}
	return n
}

// eachEntry visits the index of the current table, in key order.
func (v *View) eachEntry(visit func(key []byte, e *entry) error) (err error) {
	it, err := v.space(keys.TableIndex)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		e, err := currentEntry(it, v.t.ordinal)
		if err == nil {
			err = visit(it.Key()[keys.TablePrefixLen:], &e)
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}

func (v *View) places() (list []place, err error) {
	err = v.eachEntry(func(key []byte, e *entry) error {
		list = append(list, place{e.offset, uint32(len(key)) + e.valueLen + lostOverhead, !e.tombstone})
		return nil
	})
	slices.SortFunc(list, func(a, b place) int { return cmp.Compare(a.offset, b.offset) })
	return list, err
}

// lostIn visits the live rows in ascending spans, in key order.
func (v *View) lostIn(spans []Span, visit func(LostRow) error) error {
	return v.eachEntry(func(key []byte, e *entry) error {
		if e.tombstone || !within(spans, e.offset) {
			return nil
		}
		return visit(LostRow{Key: key, Offset: e.offset, Entry: e.hash})
	})
}

// within tells whether an offset lies in one of ascending spans.
func within(spans []Span, offset int64) bool {
	i, _ := slices.BinarySearchFunc(spans, offset, func(s Span, o int64) int { return cmp.Compare(s.To, o+1) })
	return i < len(spans) && spans[i].From <= offset
}

// besides visits the rows below end, but for those in ascending spans, of each of which Salvage has found that it begins behind a live row and
// ends before one: no block is read that has rows in a span alone.
func (v *View) besides(spans []Span, end int64, tombstones bool, fn func(*frame.Row) bool) error {
	from, stopped := int64(0), false
	for _, s := range append(slices.Clone(spans), Span{end, end}) {
		if s.From > from {
			// The iterator must not go on behind the last row: the next block is the damaged one.
			_, err := v.rows(from, s.From, frameAt(v.f.Cut), tombstones, func(r *frame.Row) bool {
				stopped = !fn(r)
				return !stopped && (r.Offset < s.From-1 || s.From == s.To)
			})
			if err != nil || stopped {
				return err
			}
		}
		from = s.To
	}
	return nil
}
