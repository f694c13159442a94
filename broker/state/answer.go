package state

import (
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

var (
	// errNeedsCut: a repair needs a frame at or above the position, and there is none.
	errNeedsCut = errors.New("there is no key frame to repair at")
	// errBehind: the log start has passed all frames; the one that it asks for comes soon.
	errBehind = errors.New("no key frame is at or above the log start")
	// errDamaged: those that there are cannot be read.
	errDamaged = fmt.Errorf("%w: no key frame that is of use can be read", table.ErrCorrupt)
)

// point is the digest of a replica's state at an offset, with the log start that it respects.
type point struct {
	offset, start int64
	digest        digest.Digest
}

// resumption is what a replica says of itself.
type resumption struct {
	replica     string
	instance    [16]byte // zeros: none
	hasState    bool
	incarnation [16]byte
	sameLog     bool    // it is the log's
	points      []point // newest first; the first is the position
	epoch       int32   // -1: not known
	repairs     bool
	repairAt    int64
	weighed     weighed // see weigh
}

func (q *resumption) position() int64 { return q.points[0].offset }

// resumed is an answer.
type resumed struct {
	answer              api.Answer
	reason              api.Reason
	why                 string
	from, since         int64
	frame               *table.Frame // nil: none, and no lease
	heldFrom, heldSince int64        // of the lease
	orFollow            bool         // the log has everything from the position on, too
}

// decide finds the answer: O(1) in rows, from what is retained and what was weighed. epochEnd is that of the log.
func (q *resumption) decide(r *keyframer.Retained, epochEnd func(int32) (int32, int64)) (resumed, error) {
	if !q.hasState {
		return q.whole(r, api.Answer_ANSWER_FRAME, 0, "there is no state yet")
	}
	position := q.position()
	switch found, end := epochEnd(q.epoch); {
	case !q.sameLog:
		return q.whole(r, api.Answer_ANSWER_RESET, api.Reason_REASON_OTHER_INCARNATION, "the state is of another incarnation of the log")
	case position > r.Bounds.LastStable:
		return q.whole(r, api.Answer_ANSWER_RESET, api.Reason_REASON_FUTURE_POSITION,
			fmt.Sprintf("the position %d lies above the last stable offset %d", position, r.Bounds.LastStable))
	case q.epoch >= 0 && end < position: // -1 where the log is in no epoch so high
		return q.whole(r, api.Answer_ANSWER_RESET, api.Reason_REASON_DIVERGED,
			fmt.Sprintf("leader epoch %d ends at %d in the log (epoch %d), below the position %d", q.epoch, end, found, position))
	}
	differs, at := q.differs(r)
	first := max(r.Bounds.DeltaStart, r.Bounds.LogStart)
	newest, ok := r.Newest()
	switch {
	case q.repairs:
		if !ok || newest.Cut < max(q.repairAt, position) {
			return resumed{}, errNeedsCut
		}
		return q.repair(r, &newest, first, fmt.Sprintf("the state is to be repaired at %d", newest.Cut))
	case differs && ok && newest.Cut >= position:
		return q.repair(r, &newest, first, fmt.Sprintf("the state at %d differs from the log's", at))
	case differs && position >= first:
		return resumed{answer: api.Answer_ANSWER_REPAIR, from: position, since: position,
			why: fmt.Sprintf("the state at %d differs from the log's, and no key frame lies above the position: ask with repair_at", at)}, nil
	case position >= first:
		return q.follow(r), nil
	case position < r.Horizon:
		return q.belowHorizon(r)
	}
	sound, ok := r.Sound(position)
	if !ok || sound.Cut < first {
		return resumed{}, missing(r, first)
	}
	return q.delta(sound, fmt.Sprintf("the position %d lies below the first delta that is left, %d", position, first)), nil
}

// delta is what changed since the position, up to a frame.
func (q *resumption) delta(f table.Frame, why string) resumed {
	position := q.position()
	return resumed{answer: api.Answer_ANSWER_DELTA, from: f.Cut, since: position, frame: &f, heldFrom: f.Cut, heldSince: position, why: why}
}

// follow is the log, which reaches back to the position, or what it comes to where that is much less.
func (q *resumption) follow(r *keyframer.Retained) resumed {
	position := q.position()
	if f, ok := q.shortcut(r); ok && f.Cut == q.weighed.cut && q.weighed.rows <= rowsMax(f.Cut-position) {
		a := q.delta(f, fmt.Sprintf("the log has %d offsets from the position %d to %d, which come to %d rows at most", f.Cut-position, position, f.Cut, q.weighed.rows))
		a.orFollow = true
		return a
	}
	return resumed{answer: api.Answer_ANSWER_CONTINUE, from: position, why: "the log has everything from the position on"}
}

// missing is why there is no frame to load at or above the first offset that the log has deltas of.
func missing(r *keyframer.Retained, first int64) error {
	if newest, ok := r.Newest(); ok && newest.Cut >= first {
		return errDamaged
	}
	return errBehind
}

func (q *resumption) belowHorizon(r *keyframer.Retained) (resumed, error) {
	return q.whole(r, api.Answer_ANSWER_FRAME, 0,
		fmt.Sprintf("deletions between the position %d and the tombstone horizon %d are not known any more", q.position(), r.Horizon))
}

// whole is the newest frame as a whole that is not known to be damaged, or nothing where the log reaches back to its start.
func (q *resumption) whole(r *keyframer.Retained, answer api.Answer, reason api.Reason, why string) (resumed, error) {
	sound, ok := r.Sound(-1)
	a := resumed{answer: answer, reason: reason, why: why}
	switch first := max(r.Bounds.DeltaStart, r.Bounds.LogStart); {
	case ok && sound.Cut >= first:
		a.from, a.frame, a.heldFrom, a.heldSince = sound.Cut, &sound, sound.Cut, -1
	case ok || first > 0:
		return a, missing(r, first)
	case answer == api.Answer_ANSWER_FRAME:
		a.answer, a.why = api.Answer_ANSWER_CONTINUE, why+", and no key frame: the log has everything"
	}
	return a, nil
}

// repair brings the state to a frame at or above the position: by the log while it reaches back to the position, else by what changed since.
func (q *resumption) repair(r *keyframer.Retained, f *table.Frame, first int64, why string) (resumed, error) {
	position := q.position()
	a := resumed{answer: api.Answer_ANSWER_REPAIR, from: f.Cut, since: position, frame: f, heldFrom: position, heldSince: -1, why: why}
	switch {
	case f.Cut < first:
		return a, errBehind
	case position >= first:
		return a, nil
	case position >= r.Horizon:
		a.heldFrom, a.heldSince = f.Cut, position
		return a, nil
	}
	return q.belowHorizon(r)
}

// differs compares the newest point that is known here too: a frame's, or the table's. States with another log start are not comparable.
func (q *resumption) differs(r *keyframer.Retained) (differs bool, at int64) {
	for _, p := range q.points {
		for i := len(r.Frames) - 1; i >= -1; i-- {
			f := &r.Folded
			if i >= 0 {
				f = &r.Frames[i]
			}
			if f.Cut == p.offset && f.Start == p.start {
				return f.Digest != p.digest, p.offset
			}
		}
	}
	return false, 0
}
