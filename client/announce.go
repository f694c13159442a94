package client

import (
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
)

// announce tells the partition of a frame of the log, new or old.
func (p *partition) announce(f plane.Frame) {
	p.mu.Lock()
	if p.known = append(p.known, f); len(p.known) > pendingFrames {
		p.known = p.known[1:]
	}
	s := p.rows()
	if s == nil || !p.following {
		p.mu.Unlock()
		return
	}
	if f.Incarnation != s.identity().Incarnation {
		p.restartLocked(restart{event: NewIncarnation, err: fmt.Errorf("%w: frame %d is of %x, ours is %x", plane.ErrOtherIncarnation, f.Cut, f.Incarnation, s.identity().Incarnation)})
		p.mu.Unlock()
		return
	}
	var verdicts []Verdict
	var why *restart
	switch position := s.position(); {
	case f.Cut <= position && f.Start > p.start.Load():
		p.startPassedLocked(s, f)
	case f.Cut <= p.compared:
	case f.Cut > position:
		p.waitForLocked(f)
	default:
		p.compared = f.Cut
		d, ok := p.ring.digestAt(f.Cut)
		if !ok && position == f.Cut {
			var err error
			d, _, err = s.digest()
			ok = err == nil
		}
		if ok {
			v := p.judgeLocked(f, d)
			if verdicts = append(verdicts, v); position == f.Cut {
				why = p.stopHereLocked(f, v)
			}
		} else {
			p.askNow() // passed, and no longer known: compare where we are
		}
	}
	if len(verdicts) > 0 {
		p.checks.Add(1)
		defer p.checked()
	}
	p.mu.Unlock()
	p.publishAnd(why, verdicts)
}

// recallLocked takes up the frames that were announced while the state that is there was not followed: those that are still to be compared, at their cut
// or, where it stands there already or has passed it, at its position; and the log start that they have moved.
func (p *partition) recallLocked(s rows) {
	incarnation, position := s.identity().Incarnation, s.position()
	passed := plane.Frame{Start: p.start.Load()}
	for _, f := range p.known {
		switch {
		case f.Incarnation != incarnation:
		case f.Cut > position:
			p.waitForLocked(f)
		case f.Start > passed.Start:
			passed = f
		case p.following && f.Cut > p.compared:
			p.compared = f.Cut
			p.askNow()
		}
	}
	if passed.Start > p.start.Load() {
		p.startPassedLocked(s, passed)
	}
}

// waitForLocked keeps a frame to be compared when its cut is reached; of two of one cut that which supersedes the other, of too many the
// earliest go.
func (p *partition) waitForLocked(f plane.Frame) {
	i := len(p.pending)
	for i > 0 && p.pending[i-1].Cut >= f.Cut {
		if p.pending[i-1].Cut == f.Cut {
			if f.Start > p.pending[i-1].Start {
				p.pending[i-1] = f
			}
			return
		}
		i--
	}
	p.pending = append(p.pending[:i], append([]plane.Frame{f}, p.pending[i:]...)...)
	if len(p.pending) > pendingFrames {
		p.pending = p.pending[1:]
	}
}

// observe takes what the state plane says about the partition's log.
func (p *partition) observe(info plane.Partition) {
	p.mu.Lock()
	p.info = &info
	defer p.mu.Unlock()
	if s := p.rows(); s != nil && p.following {
		if why, bad := unfit(s, info); bad {
			p.restartLocked(why)
		}
	}
	if !info.Disputed {
		p.settledLocked()
	}
}

// unfit tells why a state cannot follow the log that info describes.
func unfit(s rows, info plane.Partition) (restart, bool) {
	id, at := s.identity(), s.position()
	switch {
	case id.Incarnation != info.Incarnation || id.TopicID != info.TopicID:
		return restart{event: NewIncarnation, err: fmt.Errorf("%w: the log is %x, ours is %x", plane.ErrOtherIncarnation, info.Incarnation, id.Incarnation)}, true
	case at < info.DeltaStart && at < info.Horizon:
		return restart{event: OutOfRange, resume: true, err: fmt.Errorf("%w: at %d, but what was deleted below %d is no longer known", errOutOfRange, at, info.Horizon)}, true
	}
	return restart{}, false
}
