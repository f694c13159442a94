package table

import (
	"encoding/binary"
	"slices"

	"github.com/keyframelog/keyframe/storage/keys"
)

// past is what a table knows of its superseded rows.
//
// Those that have left TableRows are in TablePast, in eras: a trim ends the last one when it comes behind its beginning, and removes an era when
// nobody needs a row in it. So there are two at most, and none is ever written anew.
type past struct {
	settled   int64   // what folds ending at or below superseded is named by cuts below, see Settle
	eras      []int64 // each by what was settled when it began, ascending
	unsettled int64   // superseded rows that are not out of the way yet, and that Settle would name, or has named, tombstones that expired among them; uncounted: an earlier release did not count them
	later     int64   // those that it would name behind the next cut
}

const (
	uncounted = int64(-1)
	erasMax   = 2
)

// supersede counts what a fold superseded: rows, of which those that passed come and went above the newest cut. cut: it ends at one.
func (p *past) supersede(rows, passed int, cut bool) {
	p.later += int64(rows - passed)
	n := int64(passed)
	if cut {
		n, p.later = n+p.later, 0
	}
	if p.unsettled != uncounted {
		p.unsettled += n
	}
}

// expire counts rows that are gone, in their segments too.
func (p *past) expire(rows int64) {
	if p.unsettled != uncounted {
		p.unsettled += rows
	}
}

// settle notes that rows were named, up to a cut; 0: there is none.
func (p *past) settle(cut, rows int64) {
	p.settled = max(p.settled, cut)
	if p.unsettled == uncounted {
		p.unsettled = rows
	}
	if len(p.eras) == 0 && p.settled > 0 {
		p.eras = []int64{p.settled}
	}
}

// clean notes that so many of the rows that are named are out of the way.
func (p *past) clean(rows int64) {
	if p.unsettled != uncounted {
		p.unsettled = max(0, p.unsettled-rows)
	}
}

// trim removes the eras in which all rows are named by cuts below the oldest one: those of an era are below where the next begins.
func (p *past) trim(oldest int64) (removed []int64) {
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

// erasFor are those in which there may be rows of such cuts, or higher ones: none for who reads a frame up to which the table is settled.
func (v *View) erasFor(cut int64) []int64 {
	eras := v.m.past.eras
	for len(eras) > 0 && v.m.past.end(len(v.m.past.eras)-len(eras)) <= cut {
		eras = eras[1:]
	}
	return eras
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
