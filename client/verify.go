package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
)

func (p *partition) verdict(at int64, o Outcome, ours, logs digest.Digest, reason string, err error) Verdict {
	return Verdict{
		Topic: p.r.cfg.Topic, Partition: p.no, At: at, Outcome: o, Ours: ours, Logs: logs, Reason: reason, Err: err, Time: p.r.cfg.Now(),
	}
}

// judgeLocked compares our digest at a frame's cut with the frame's.
func (p *partition) judgeLocked(f frameInfo, ours digest.Digest) Verdict {
	switch {
	case ours == f.digest:
		p.start = f.start
		return p.verdict(f.cut, Equal, ours, f.digest, "", nil)
	case f.start != p.start:
		// Retention took rows out of the frame that no record tells us of: we need the frame.
		p.restartLocked(restart{event: OutOfRange, err: fmt.Errorf("%w: log start moved from %d to %d", errOutOfRange, p.start, f.start)})
		return p.verdict(f.cut, Inconclusive, ours, f.digest, "the log start moved: rows expired", nil)
	}
	return p.verdict(f.cut, Drifted, ours, f.digest, differs(ours, f.digest), nil)
}

func differs(ours, logs digest.Digest) string {
	if ours.Count != logs.Count {
		return fmt.Sprintf("%d rows here, %d in the log", ours.Count, logs.Count)
	}
	return fmt.Sprintf("%d rows in both, but at least one value differs", ours.Count)
}

// compareNow compares at the partition's own position with what the log says of that offset.
func (p *partition) compareNow(ctx context.Context) Verdict {
	p.mu.Lock()
	s := p.rows()
	if s == nil {
		p.mu.Unlock()
		return p.verdict(0, Inconclusive, digest.Digest{}, digest.Digest{}, "there is no state yet", nil)
	}
	ours, at, err := s.digest()
	incarnation := s.identity().Incarnation
	p.mu.Unlock()
	if err != nil {
		return p.verdict(at, Error, ours, digest.Digest{}, "our own digest cannot be read", err)
	}
	if p.r.plane == nil {
		return p.verdict(at, Inconclusive, ours, digest.Digest{}, "no state plane to compare with", ErrNoStatePlane)
	}
	logs, err := p.r.plane.digestAt(ctx, p.no, Position{incarnation, at})
	switch {
	case errors.Is(err, errOtherIncarnation):
		p.restartWith(restart{event: NewIncarnation, err: err})
		return p.verdict(at, Inconclusive, ours, logs, "the log is of another incarnation", err)
	case errors.Is(err, errNotComparable):
		return p.verdict(at, Inconclusive, ours, logs, "the log does not know its digest at this offset", err)
	case err != nil:
		return p.verdict(at, Error, ours, logs, "the state plane did not answer", err)
	case ours != logs:
		return p.verdict(at, Drifted, ours, logs, differs(ours, logs), nil)
	}
	return p.verdict(at, Equal, ours, logs, "", nil)
}

// publish tells of verdicts, and acts on drift as the policy says. Not to be called with mu held.
func (p *partition) publish(verdicts ...Verdict) {
	for _, v := range verdicts {
		p.r.publishVerdict(v)
		if v.Outcome != Drifted {
			continue
		}
		err := fmt.Errorf("%w at offset %d: %s", ErrDrifted, v.At, v.Reason)
		switch p.r.cfg.OnDrift {
		case Halt:
			p.restartWith(restart{event: DriftFound, err: err, halt: true})
		case Rebootstrap:
			p.restartWith(restart{event: DriftFound, err: err})
		default:
			p.r.event(Event{Kind: DriftFound, Partition: p.no, Offset: v.At, Err: err})
		}
	}
}
