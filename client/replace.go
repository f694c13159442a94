package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
)

// ReplaceRefusedError ends a partition that the log has only a whole key frame for, or what it still holds, where that must not take the place of the copy. The
// copy stays as it is.
// Why wraps
//
//   - ErrDisputed: replicas agree with one another and not with the broker, so that the copy may be the better one, whatever the policy. When that is
//     settled (keyframe replica settle) the replica goes on once it is opened again. Who gives the copy up removes its directory;
//   - ErrDrifted: the copy differs from the log, and the policy is Halt. With any other policy it takes its place, as with keyframe repair --dir.
type ReplaceRefusedError struct {
	Position int64 // of the copy: everything below it is applied
	Frame    int64 // the cut of the key frame; -1: of none in particular
	Why      error

	differs bool // that the copy differs is known, whatever Why is
}

func (e *ReplaceRefusedError) Error() string {
	which, then := "another state", "open it with another policy than Halt, or repair it, and that takes its place"
	if e.Frame >= 0 {
		which = fmt.Sprintf("the whole key frame at %d", e.Frame)
	}
	if errors.Is(e.Why, ErrDisputed) {
		then = "open it again when that is settled; who gives the copy up removes it"
	}
	return fmt.Sprintf("the copy at %d stays as it is, though the log has only %s for it: %v; %s", e.Position, which, e.Why, then)
}

func (e *ReplaceRefusedError) Unwrap() error { return e.Why }

// atStake is the copy that a frame would take the place of; nil: there is none.
func (p *partition) atStake() rows {
	if s := p.rows(); s != nil {
		return s
	}
	return p.unseen
}

// mayTakePlace returns nil if a whole frame of the log that info describes may take the place of the copy, or an *ReplaceRefusedError. differs: it is known just
// now that the copy differs. What was applied of another log is of no use to anybody.
func (p *partition) mayTakePlace(info plane.Partition, f *plane.Frame, differs bool) error {
	s := p.atStake()
	if s == nil || s.identity().TopicID != info.TopicID || s.identity().Incarnation != info.Incarnation {
		return nil
	}
	e := &ReplaceRefusedError{Position: s.position(), Frame: -1}
	if f != nil {
		e.Frame = f.Cut
	}
	found := p.r.stores.haltedAt(p.no)
	e.differs = differs || found > 0
	switch {
	case info.Disputed:
		e.Why = plane.ErrDisputed
	case p.r.cfg.OnDrift != Halt:
		return nil
	case differs:
		e.Why = ErrDrifted
	case found > 0:
		e.Why = fmt.Errorf("%w, as was found at offset %d", ErrDrifted, found)
	default:
		return nil
	}
	return e
}

// nameTaken names the keys of a state that differs, before a frame takes its place or refused says why that stays as it is.
func (p *partition) nameTaken(ctx context.Context, s rows, refused error) {
	if refused == nil {
		p.log.Error("the state differs from the log: a whole key frame takes its place", "offset", s.position())
	} else {
		p.log.Error("the state differs from the log, and stays as it is", "offset", s.position(), "why", refused)
	}
	p.setUnnamed(true)
	p.nameDifferences(ctx, s)
	if refused == nil { // else it halts next
		p.setUnnamed(false)
	}
}

// keepHalted stores that the policy ended following since the state differed at an offset: no frame takes its place unasked, after a restart either.
func (p *partition) keepHalted(at int64) {
	if err := p.r.stores.keepHalted(p.no, at); err != nil {
		p.log.Error("replica: that the state differs is not stored: where the log does not go on from it, a key frame may take its place", "err", err)
	}
}

// equalAt notes that the state is equal to the log at an offset: what was named of it is over, and what keepHalted stored of an offset that is not above.
func (p *partition) equalAt(at int64) {
	p.lastNamed.Store(nil)
	if found := p.r.stores.haltedAt(p.no); found > 0 && found <= at {
		p.keepHalted(0)
	}
}
