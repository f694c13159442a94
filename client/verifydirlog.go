package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// errMovedOn says that the log was trimmed, or expired rows, while a copy was compared with it: it is compared again.
var errMovedOn = errors.New("the log moved on meanwhile")

func movedOn(err error) bool {
	switch plane.ReasonOf(err) {
	case state.Reason_REASON_BELOW_DELTA_START, state.Reason_REASON_UNKNOWN_FRAME, state.Reason_REASON_BELOW_HORIZON:
		return true
	}
	for _, is := range []error{errMovedOn, plane.ErrNoFrame, plane.ErrFrameChanged} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// compare compares a copy with the log at the copy's position. The error is that of a call, or errMovedOn; a verdict of Drifted beside it stands.
func (v *dirVerifier) compare(ctx context.Context, d DirVerdict, c *dirCopy, log logInfo) (DirVerdict, error) {
	if why, err := c.foreign(log); err != nil {
		switch {
		case errors.Is(err, plane.ErrOtherIncarnation):
			d.Repair = v.costOfWhole(ctx, log)
		case log.info != nil && c.at > log.info.LastStable && log.info.Failure == "":
			d.Repair = v.costOfWhole(ctx, log).refusedIn(log)
		}
		return d.is(Inconclusive, why, err), nil
	}
	logs, start, err := v.digestAt(ctx, c)
	switch plane.ReasonOf(err) {
	case state.Reason_REASON_BELOW_DELTA_START, state.Reason_REASON_TOO_FAR_ABOVE_FRAME:
		return v.compareAbove(ctx, d, c, log)
	case state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_ABOVE_LAST_STABLE:
		return d.is(Inconclusive, "the log became another one just now", err), nil
	}
	if err != nil {
		return d, err
	}
	here := &carried{rows: c.rows, from: c.at, start: start, cut: c.at, unread: c.unread}
	ours := c.stored
	if start > c.start {
		if ours, err = here.digestHere(); err != nil {
			return d.is(Error, "the stored rows cannot be read", err), nil
		}
		d.start = start
	}
	d.Ours, d.Logs = ours, logs
	switch {
	case start < c.start:
		return d.is(Inconclusive, fmt.Sprintf("rows below %d have left the copy, and the log says that it has them", c.start), nil), nil
	case ours == logs:
		return c.equal(d, start), nil
	case start > c.start && !c.kind().WholeValues():
		return d.is(Inconclusive, fmt.Sprintf("rows below %d have expired since, and deltas may have been folded without them", start), nil), nil
	}
	d.Cause = c.cause()
	d = d.is(Drifted, differs(ours, logs), nil)
	f, mendAt := nearest(log.frames, c.at), log.info.LastStable // where a frame is cut for a repair that finds none
	if above := lowestAbove(log.frames, c.at+1); above != nil {
		mendAt = above.Cut // the first that it comes by
	} else if f.Cut == c.at {
		mendAt = c.at
	}
	if len(log.frames) == 0 {
		if f, err = v.cutAbove(ctx, c); err != nil {
			return d, err
		}
		mendAt = f.Cut
	}
	here.cut = f.Cut
	if here.moved, err = v.between(ctx, c, f.Cut); err != nil {
		return d, err
	}
	return v.find(ctx, d, here, f, mendAt)
}

func (v *dirVerifier) digestAt(ctx context.Context, c *dirCopy) (logs digest.Digest, start int64, err error) {
	err = v.call(ctx, func(ctx context.Context) (err error) {
		logs, start, err = v.plane.DigestAt(ctx, c.no, c.identity().Incarnation, c.at)
		return err
	})
	return logs, start, err
}

// equal is the verdict about rows that are the log's.
func (c *dirCopy) equal(d DirVerdict, start int64) DirVerdict {
	switch {
	case c.stored != c.kept:
		d.Cause, d.Repair = LocalCorruption, RepairCost{Method: ByRehash}
		return d.is(Drifted, "the rows are the log's, but the digest that is kept of them is not theirs", nil)
	case start > c.start:
		return d.is(Equal, fmt.Sprintf("without the rows below %d, which have expired since", start), nil)
	}
	return d.is(Equal, "", nil)
}

func (c *dirCopy) cause() Cause {
	if c.of != nil || c.stored != c.kept {
		return LocalCorruption
	}
	return LogicalDrift
}

// foreign tells why a copy cannot be compared with a log at all: in words, and as an error.
func (c *dirCopy) foreign(log logInfo) (why string, err error) {
	id, info := c.identity(), log.info
	switch {
	case info == nil:
		return "the topic has no such partition any more", plane.ErrNoPartition
	case info.TopicID != id.TopicID:
		return "the topic was created anew since", plane.ErrOtherIncarnation
	case info.Incarnation != id.Incarnation:
		return "the log was created anew since: it lost records, or was restored", plane.ErrOtherIncarnation
	case info.Failure != "":
		return "the broker cannot fold the partition: " + info.Failure, plane.ErrNotComparable
	case c.at > info.LastStable:
		why = fmt.Sprintf("the log ends at %d, below the copy: it lost its end, or is not the log of this copy", info.LastStable)
		return why, &plane.ReasonError{Reason: state.Reason_REASON_FUTURE_POSITION, Why: why}
	}
	return "", nil
}

// nearest is the frame whose cut is nearest to an offset; its Digest is zero where there is none.
func nearest(frames []plane.Frame, at int64) (best plane.Frame) {
	away := func(f plane.Frame) int64 { return max(f.Cut-at, at-f.Cut) }
	for i, f := range frames {
		if i == 0 || away(f) < away(best) || f.Cut == best.Cut && f.Start > best.Start {
			best = f
		}
	}
	return best
}

// cutAbove asks for a frame at or above the position.
func (v *dirVerifier) cutAbove(ctx context.Context, c *dirCopy) (f plane.Frame, err error) {
	err = v.call(ctx, func(ctx context.Context) (err error) {
		f, err = v.plane.CutAbove(ctx, c.no, c.at)
		return err
	})
	return f, err
}

// between asks what the log changed between the position and a cut, which may lie below it.
func (v *dirVerifier) between(ctx context.Context, c *dirCopy, cut int64) (moved map[string]move, err error) {
	if cut == c.at {
		return nil, nil
	}
	err = v.call(ctx, func(ctx context.Context) error {
		moved = map[string]move{}
		return v.plane.Diff(ctx, c.no, c.identity().Incarnation, c.at, cut, func(x plane.Changed) error {
			moved[string(x.Key)] = move{at: x.Before, cut: x.After}
			return nil
		})
	})
	return moved, err
}
