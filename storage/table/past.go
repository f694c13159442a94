package table

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// past is what a table knows of its superseded rows.
//
// Those that have left TableRows are in TablePast, in eras: a trim ends the last one when it comes behind its beginning, and removes an era when
// nobody needs a row in it. So there are two at most, and none is ever written anew.
type past struct {
	settled   int64   // what folds ending at or below superseded is named by cuts below, see Settle
	eras      []int64 // each by what was settled when it began, ascending
	unsettled int64   // rows that folds up to the newest cut superseded, and that are not settled; uncounted: an earlier release did not count them
	later     int64   // rows that folds above it did
}

const (
	uncounted = int64(-1)
	erasMax   = 2
)

// supersede counts what a fold superseded, and what was counted before if it ends at a cut.
func (p *past) supersede(rows int, cut bool) {
	if p.later += int64(rows); !cut {
		return
	}
	if p.unsettled != uncounted {
		p.unsettled += p.later
	}
	p.later = 0
}

// settle notes that it was done up to a cut.
func (p *past) settle(cut int64) {
	p.settled, p.unsettled = max(p.settled, cut), 0
	if len(p.eras) == 0 {
		p.eras = []int64{p.settled}
	}
}

// last is the era to which rows go.
func (p *past) last() int64 { return p.eras[len(p.eras)-1] }

// trim removes the eras in which all rows are named by cuts below the oldest one: those of an era are below where the next begins. rows of those that
// were counted as unsettled are gone.
func (p *past) trim(oldest, rows int64) (removed []int64) {
	if p.unsettled != uncounted {
		p.unsettled = max(0, p.unsettled-rows)
	}
	n := 0
	for n < len(p.eras) && oldest >= p.end(n) {
		n++
	}
	removed, p.eras = p.eras[:n:n], slices.Clone(p.eras[n:])
	if len(p.eras) == 1 && oldest >= p.eras[0] && p.settled > p.eras[0] {
		p.eras = append(p.eras, p.settled)
	}
	return removed
}

// end is above the cuts of all rows in the i-th era.
func (p *past) end(i int) int64 {
	if i+1 < len(p.eras) {
		return p.eras[i+1]
	}
	return p.settled
}

func appendPast(b []byte, p *past) []byte {
	b = binary.AppendUvarint(b, uint64(p.settled))
	b = binary.AppendVarint(b, p.unsettled)
	b = binary.AppendUvarint(b, uint64(p.later))
	b = binary.AppendUvarint(b, uint64(len(p.eras)))
	return appendOffsets(b, 0, p.eras)
}

func readPast(r *reader) (p past) {
	p.settled, p.unsettled, p.later = r.offset(), r.varint(), r.offset()
	n := r.offset()
	if p.unsettled < uncounted || n > erasMax {
		r.bad = true
		return past{}
	}
	last := int64(0)
	for i := range n {
		d := r.offset()
		if last += d; last < 0 || last > p.settled || i > 0 && d == 0 {
			r.bad = true
			return past{}
		}
		p.eras = append(p.eras, last)
	}
	return p
}

// rowSource is a stream of rows in offset order: TableRows, or an era of TablePast.
type rowSource struct {
	it     *pebble.Iterator
	past   bool
	offset int64
	ok     bool
}

// rowMerge goes through the rows stored in a range of offsets, in their order, whether they are still in TableRows or not. Each is in one place.
type rowMerge struct {
	ordinal uint32
	cut     int64 // past rows of lower cuts are passed by
	sources []*rowSource
	current *rowSource
}

// openRows prepares what is stored in [from, end) of the rows that a reader needs who takes settled rows of lower cuts than cut for dead.
func (v *View) openRows(from, end, cut int64) (*rowMerge, error) {
	m := &rowMerge{ordinal: v.t.ordinal, cut: cut}
	add := func(lower, upper []byte, past bool) error {
		it, err := v.clone(lower, upper)
		if err == nil {
			m.sources = append(m.sources, &rowSource{it: it, past: past})
		}
		return err
	}
	err := add(v.rowsKey(from), v.rowsKey(end), false)
	for _, era := range v.erasFor(cut) {
		if err == nil {
			err = add(keys.AppendTablePast(nil, m.ordinal, era, from), keys.AppendTablePast(nil, m.ordinal, era, end), true)
		}
	}
	if err != nil {
		return nil, damage.Join(err, m.close())
	}
	return m, nil
}

// erasFor are those in which there may be rows of such cuts, or higher ones: none for who reads a frame up to which the table is settled.
func (v *View) erasFor(cut int64) []int64 {
	eras := v.m.past.eras
	for len(eras) > 0 && v.m.past.end(len(v.m.past.eras)-len(eras)) <= cut {
		eras = eras[1:]
	}
	return eras
}

func (m *rowMerge) close() (err error) {
	for _, s := range m.sources {
		err = damage.Join(err, s.it.Close())
	}
	return err
}

// next goes to the next row; nil: there is none. What lies behind the current one is not read before.
func (m *rowMerge) next() (*rowSource, error) {
	if m.current == nil {
		for _, s := range m.sources {
			if err := m.take(s, s.it.First()); err != nil {
				return nil, err
			}
		}
	} else if err := m.take(m.current, m.current.it.Next()); err != nil {
		return nil, err
	}
	m.current = nil
	for _, s := range m.sources {
		if s.ok && (m.current == nil || s.offset < m.current.offset) {
			m.current = s
		}
	}
	return m.current, nil
}

// take leaves a source at the next row that counts, once its iterator was moved.
func (m *rowMerge) take(s *rowSource, ok bool) error {
	for ; ok; ok = s.it.Next() {
		rest, cut, good := s.it.Key()[keys.TablePrefixLen:], int64(0), true
		if s.past {
			if cut, good = cutOf(s.it.Key()); good {
				rest = rest[8:]
			}
		}
		if s.offset, s.ok = keys.ParseTableOffset(rest); !good || !s.ok {
			return &CorruptError{Ordinal: m.ordinal, What: "key", Offset: -1, Why: "malformed"}
		}
		if !s.past || cut >= m.cut {
			return nil
		}
	}
	s.ok = false
	if err := damage.Of(s.it.Error()); err != nil {
		return fmt.Errorf("table: read rows of ordinal %d: %w", m.ordinal, err)
	}
	return nil
}

// appendCut completes a key of TablePast.
func appendCut(k []byte, cut int64) []byte { return binary.BigEndian.AppendUint64(k, uint64(cut)) }

// cutOf reads the cut of a key in TablePast.
func cutOf(k []byte) (cut int64, ok bool) {
	if len(k) != keys.TablePastLen+8 {
		return 0, false
	}
	return keys.ParseTableOffset(k[keys.TablePastLen:])
}

// pastRow looks for the row at an offset in TablePast, if it is one that the view may show. It is valid until the iterator moves.
func (v *View) pastRow(offset int64) (b []byte, found bool, err error) {
	for _, era := range v.erasFor(v.f.Cut) {
		if v.former == nil {
			if v.former, err = v.space(keys.TablePast); err != nil {
				return nil, false, err
			}
		}
		v.k = keys.AppendTablePast(v.k[:0], v.t.ordinal, era, offset)
		if !v.former.SeekGE(v.k) {
			if err := v.former.Error(); err != nil {
				return nil, false, damage.Of(err)
			}
			continue
		}
		if cut, ok := cutOf(v.former.Key()); ok && bytes.HasPrefix(v.former.Key(), v.k) && cut >= v.f.Cut {
			b, err = v.former.ValueAndErr()
			return b, err == nil, damage.Of(err)
		}
	}
	return nil, false, nil
}
