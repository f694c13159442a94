package client

import (
	"errors"

	"github.com/keyframelog/keyframe/proto/state"
)

// errRotten is the reason of a comparison that finds the log's digest where rows are known to be rotten: it is kept beside the rows, and is theirs no more.
var errRotten = errors.New("the digest that is kept is the log's, and the rows are not what was applied")

// rotten is a state of which rows are known that are not what was applied. It is so until they are put right, another state takes its place, or all rows
// are hashed anew and are what was applied.
type rotten struct {
	of  rows
	why error // wraps ErrCorrupt
}

// rotted notes that rows of a state are rotten.
func (p *partition) rotted(s rows, why error) { p.rotten.Store(&rotten{s, why}) }

// rot is why the state that is there is rotten; nil: it is not, as far as is known.
func (p *partition) rot() error {
	if r := p.rotten.Load(); r != nil && r.of == p.rows() {
		return r.why
	}
	return nil
}

// sound notes that rows that were known to be rotten when it was begun to look at all of them are not; nil: none were. The log is asked what it says of them.
func (p *partition) sound(was *rotten) {
	if was != nil && p.rotten.CompareAndSwap(was, nil) {
		p.askNow()
	}
}

// judged is a comparison with the log, by what is known of the rows: of rotten ones none says that they are equal.
func (p *partition) judged(v Verdict) Verdict {
	if v.Outcome == Equal && !v.Scrub {
		if why := p.rot(); why != nil {
			v.Outcome, v.Reason, v.Err = Error, errRotten.Error(), why
		}
	}
	return v
}

// corruption makes known that rows of the state are rotten.
func (p *partition) corruption(s rows, at int64, why error) {
	p.rotted(s, why)
	p.r.event(Event{Kind: CorruptionFound, Partition: p.no, Offset: at, Err: why})
}

// rottenIn says that the rows are not what was applied, where that is known of those that are there. It makes no claim about the log.
func rottenIn(x *state.ReplicaPartition, e Event) {
	x.Outcome, x.Reason, x.ComparedMs = state.Outcome_OUTCOME_ERROR, clipped(e.Err.Error()), e.Time.UnixMilli()
	x.Compared = &state.Point{Offset: e.Offset, Sum: make([]byte, 32)}
}
