package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
)

// beginRepair begins to put a state right, or to replace one that differs: what was refused before is done with. It returns what unrepaired must know.
func (p *partition) beginRepair() (asOf int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused, p.retry = nil, 0
	return p.settled
}

// unrepaired goes on with the state as it is, where there is nothing better to be had: from a broker whose own rows are in doubt nothing must be
// taken, and a state that differs in a few keys is worth more than none. Each frame from here on says that it differs, until one can be
// repaired from. On an idle topic there is none: what came to nothing because of a dispute is tried again when the log says that there is none, and
// what came to nothing for another reason after a pause. False: there is something better.
func (p *partition) unrepaired(err error, why restart, asOf int) bool {
	kind := RepairFailed
	switch {
	case errors.Is(err, ErrUnrepairable):
		kind = RepairRefused
	case errors.Is(err, plane.ErrBusy), plane.Away(err):
	default:
		return false
	}
	p.r.event(Event{Kind: kind, Partition: p.no, Offset: p.position().Offset, Err: err})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followOnLocked()
	again := restart{err: why.err} // it has been told why
	if why.repair != nil {
		again.repair = &repairOrder{rehash: why.repair.rehash}
	}
	p.refused = &again
	if !plane.Disputed(err) {
		p.retry = p.r.cfg.Retry << min(p.unmended, 6)
		p.unmended++
		return true
	}
	if p.settled != asOf { // the answer was on its way when the dispute ended
		p.takeUpLocked()
	}
	return true
}

// mayReplace asks whether a whole frame may take the place of the state, which differs, or cannot be read. The error is that it may not.
func (p *partition) mayReplace(ctx context.Context) error {
	s := p.rows()
	a, err := p.askLog(ctx, standing{rows: s, shown: true}, &wanted{repairAt: s.position()})
	if err = plane.ClassifyRepair(err); errors.Is(err, ErrUnrepairable) || plane.Away(err) {
		return err
	}
	if err == nil {
		p.hold(ctx, a)
	}
	return nil
}

// settledLocked learns that the partition is not disputed.
func (p *partition) settledLocked() {
	p.settled++
	p.takeUpLocked()
}

// takeUp tries again what came to nothing before.
func (p *partition) takeUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeUpLocked()
}

func (p *partition) takeUpLocked() {
	if p.refused != nil && p.following {
		again := *p.refused
		p.refused = nil
		p.restartLocked(again)
	}
}

// orDisputed adds to why a state stays as it is that it would not be repaired either.
func (p *partition) orDisputed(ctx context.Context, why error) error {
	if p.r.plane == nil {
		return why
	}
	bounded, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if info, err := p.r.plane.Partition(bounded, p.no); err == nil && info.Disputed {
		return fmt.Errorf("%w; %w", why, plane.ErrDisputed)
	}
	return why
}
