package state

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
)

const (
	pointsMax = 16
	// resumeTries bounds how often a frame that was cut for a repair is looked for again because it was thinned.
	resumeTries = 10
)

// Resume implements the call. It folds nothing, cuts nothing but the frame that a repair is to be made at, and reads a table only to weigh what changed
// against a long way through the log.
func (s *service) Resume(ctx context.Context, req *connect.Request[api.ResumeRequest]) (*connect.Response[api.ResumeResponse], error) {
	m := req.Msg
	q, err := parseResume(m)
	if err != nil {
		return nil, err
	}
	sel, err := s.selectPartitions(m.Topic, &m.Partition)
	if err != nil {
		return nil, err
	}
	t, p := sel.topic, sel.partitions[0]
	if t.Settings().Paused {
		return nil, describe(t, p, fmt.Errorf("%w: %s", keyframer.ErrNotKeyFramed, t.Name))
	}
	q.sameLog = q.incarnation == p.Incarnation
	if q.repairs && !m.Naming && s.cfg.Replicas.Disputed(t.ID, p.Index) {
		return nil, refuseAt(api.Reason_REASON_DISPUTED, t, p, q.repairAt, "partition %d: %w", p.Index, repair.ErrDisputed)
	}
	if err := s.weigh(ctx, p, q); err != nil {
		return nil, describe(t, p, err)
	}
	for try := 0; ; try++ {
		answer, granted, err := s.resumeOnce(t, p, q)
		if errors.Is(err, errNeedsCut) && try < resumeTries {
			if err = s.cutForRepair(ctx, t, p, max(q.repairAt, q.position())); err == nil {
				continue
			}
		}
		if err == nil && granted != nil {
			err = leaseError(t.Name, p, s.cfg.Leases.Persist(*granted))
		}
		if err != nil {
			return nil, describe(t, p, err)
		}
		return connect.NewResponse(answer), nil
	}
}

// resumeOnce answers from what there is, and holds what the answer names in the same moment.
func (s *service) resumeOnce(t *keyframer.Topic, p *keyframer.Partition, q *resumption) (answer *api.ResumeResponse, granted *lease.Lease, err error) {
	tab, err := p.Table()
	if err != nil {
		return nil, nil, err
	}
	err = p.Retain(func(r keyframer.Retained) error {
		a, err := q.decide(&r, p.Log().EpochEnd)
		if errors.Is(err, errBehind) {
			return refuseAt(api.Reason_REASON_BEHIND, t, p, r.Bounds.LogStart,
				"the log start of partition %d has moved, and the key frame for it is not cut yet: try again", p.Index)
		}
		if err != nil {
			return err
		}
		answer = &api.ResumeResponse{Answer: a.answer, Reason: a.reason, Why: a.why, From: a.from, Since: a.since}
		if a.frame == nil {
			return nil
		}
		l, err := s.cfg.Leases.Grant(lease.Terms{
			Topic: t.Name, TopicID: t.ID, Partition: p.Index, Incarnation: p.Incarnation, Replica: q.replica, Instance: q.instance,
			Cut: a.frame.Cut, Since: a.heldSince, From: a.heldFrom,
		})
		if errors.Is(err, lease.ErrTooMany) && a.orFollow {
			answer = &api.ResumeResponse{Answer: api.Answer_ANSWER_CONTINUE, Why: "the log has everything from the position on, and all leases are out", From: q.position()}
			return nil
		}
		answer.Frame, granted = frameOf(t, p, tab, *a.frame), &l
		return leaseError(t.Name, p, err)
	})
	if err != nil {
		return nil, nil, err
	}
	answer.Partition = partitionOf(t, p)
	answer.Partition.Disputed = s.cfg.Replicas.Disputed(t.ID, p.Index) // who has a copy must know before it loads another
	if granted != nil {
		answer.Lease = leaseMessage(granted)
	}
	return answer, granted, nil
}

// cutForRepair sees to a frame at or above an offset. All who ask meanwhile share it.
func (s *service) cutForRepair(ctx context.Context, t *keyframer.Topic, p *keyframer.Partition, offset int64) error {
	bounded, cancel := context.WithTimeout(ctx, s.cfg.WaitTimeout)
	defer cancel()
	_, err := s.cfg.Keyframer.CutAt(bounded, t.Name, p.Index, offset)
	if errors.Is(err, keyframer.ErrAboveStable) {
		return refuseAt(api.Reason_REASON_ABOVE_LAST_STABLE, t, p, offset, "no key frame can be cut at or above %d yet: %w", offset, err)
	}
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return refuseAt(api.Reason_REASON_BEHIND, t, p, offset, "the key frame at or above %d is not cut yet: try again", offset)
	}
	return err
}

// parseResume checks a request.
func parseResume(m *api.ResumeRequest) (*resumption, error) {
	invalid := func(format string, args ...any) error {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
	}
	if err := errors.Join(checkReplica(m.Replica), checkInstance(m.Instance)); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	q := &resumption{replica: m.Replica, epoch: m.LeaderEpoch, hasState: len(m.Incarnation) > 0}
	switch {
	case q.hasState && len(m.Incarnation) != 16:
		return nil, invalid("an incarnation has 16 bytes")
	case q.hasState != (len(m.Points) > 0):
		return nil, invalid("a state has an incarnation and a position")
	case len(m.Points) > pointsMax:
		return nil, invalid("%d points, and at most %d are compared", len(m.Points), pointsMax)
	case m.RepairAt != nil && (!q.hasState || *m.RepairAt < 0):
		return nil, invalid("only a state can be repaired, at an offset")
	}
	copy(q.incarnation[:], m.Incarnation)
	copy(q.instance[:], m.Instance)
	if m.RepairAt != nil {
		q.repairs, q.repairAt = true, *m.RepairAt
	}
	for i, p := range m.Points {
		if p == nil || len(p.Sum) != 32 || p.Offset < 0 || p.Count < 0 || p.Start < 0 || p.Start > p.Offset {
			return nil, invalid("point %d is none", i)
		}
		if i > 0 && p.Offset >= m.Points[i-1].Offset {
			return nil, invalid("point %d, at %d, is not older than the one before, at %d", i, p.Offset, m.Points[i-1].Offset)
		}
		q.points = append(q.points, point{p.Offset, p.Start, digest.Digest{Count: p.Count, Sum: digest.SumFromBytes([32]byte(p.Sum))}})
	}
	return q, nil
}
