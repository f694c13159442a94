package table

import (
	"iter"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Left yields what is stored of rows that left because the log start moved on from start: those with offsets in [from, Start), from being start
// or above, tombstones included, for a reader who knows all deltas below at. Some of them were superseded before the log start passed them, and their
// keys may have rows now. Of each key that had a row when the log start moved, or got one since, the last that it ever had is among them, unless it
// still has one; so is the row of a key that came and was passed within one fold. Rows stay stored until a trim that comes behind the move of the log
// start: LeftSince tells whether all of them still are. A row is valid until the next.
func (v *View) Left(start, from, at int64) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		stopped, err := v.rows(max(from, 0), v.m.start, v.superseded(start, at), true, func(r *frame.Row) bool { return yield(*r, nil) })
		if err != nil && !stopped {
			yield(frame.Row{}, v.t.damaged(v.f.Cut, err))
		}
	}
}

// superseded is what such a reader knows to be superseded, and nothing that left since.
func (v *View) superseded(start, at int64) (as standing) {
	as.folded = -1
	for _, x := range v.m.starts {
		if x.Start > start {
			as.folded = min(at, x.Cut-1) // rows may have left at that very cut
			break
		}
	}
	known, _ := v.m.greatest(as.folded) // of settled rows it is not known in which fold behind a cut they were superseded
	as.cut = max(known, v.m.trimmedTo(), 0)
	return as
}

// remembers says whether all moves of the log start on from start are remembered: the oldest frame has an earlier one, or nothing was ever forgotten.
func (v *View) remembers(start int64) bool {
	return len(v.m.frames) == 0 || len(v.m.trims) == 0 || v.m.frames[0].Start <= start
}

// Moment tells two views apart between which rows left for good.
type Moment struct {
	trimmed int64 // cut of the newest trim; -1: none is remembered
}

// Moment returns the view's. It is comparable.
func (v *View) Moment() Moment {
	return Moment{v.m.trimmedTo()}
}

// LeftSince says whether Left(start, ...) has all rows that left since the log start was at start: the oldest frame, whose rows are all stored, has
// an earlier one; or the table was not trimmed since a moment when that was its start.
func (v *View) LeftSince(start int64, then *Moment) bool {
	return v.remembers(start) || then != nil && *then == v.Moment()
}

// Start returns the log start offset that the newest rows of the table respect, whichever frame the view shows.
func (v *View) Start() int64 { return v.m.start }

// rowsKey is where a row is stored.
func (v *View) rowsKey(offset int64) []byte {
	return keys.AppendTableOffset(nil, keys.TableRows, v.t.ordinal, offset)
}
