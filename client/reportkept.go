package client

import (
	"errors"

	"github.com/keyframelog/keyframe/proto/state"
)

// keptCopy is what is to be told of a copy that stays as it is, where the partition ends since no key frame may take its place. It was compared with nothing in
// this run, and it may never have been shown.
type keptCopy struct {
	at       Position
	point    point
	verified verifiedCut
	known    bool // verified is there
	refused  *ReplaceRefusedError
	timeMs   int64
}

// keptCopy returns what an event that ends a partition leaves; nil: no copy was refused. It is called by run's goroutine, as what ends a partition is.
func (w *reporter) keptCopy(e Event) *keptCopy {
	k := &keptCopy{timeMs: e.Time.UnixMilli()}
	p := w.r.partitions[e.Partition]
	if e.Kind != Stopped || p == nil || !errors.As(e.Err, &k.refused) {
		return nil
	}
	s := p.atStake()
	d, at, err := s.digest()
	if err != nil {
		p.log.Warn("replica: how the copy stands is not told", "err", err)
		return nil
	}
	k.point = point{at, d, s.logStart()}
	k.at = Position{s.identity().Incarnation, at, k.point.start}
	if p.rows() != nil {
		k.verified, k.known = p.lastVerified()
	} else if cuts, err := p.r.stores.verified(p.no); err == nil && len(cuts) > 0 {
		k.verified, k.known = cuts[0], true
	}
	return k
}

// into says where the copy stands, where it was equal to the log last, and that it differs, or that this cannot be told: its position is gone from the log. A
// comparison of this run says more than that.
func (k *keptCopy) into(x *state.ReplicaPartition) {
	if k == nil {
		return
	}
	x.Position, x.Incarnation = k.at.Offset, k.at.Incarnation[:]
	if k.known {
		x.Verified, x.VerifiedMs = k.verified.offset, k.verified.foundMs
	}
	outcome := state.Outcome_OUTCOME_INCONCLUSIVE
	if k.refused.differs {
		outcome = state.Outcome_OUTCOME_DRIFTED
	} else if x.Outcome != state.Outcome_OUTCOME_UNSPECIFIED {
		return
	}
	if x.Outcome == outcome {
		return
	}
	sum := k.point.digest.Sum.Bytes()
	x.Outcome, x.Reason, x.ComparedMs = outcome, clipped(k.refused.Error()), k.timeMs
	x.Compared = &state.Point{Offset: k.point.offset, Count: k.point.digest.Count, Sum: sum[:], Start: k.point.start}
}
