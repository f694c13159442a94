package plane

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// ReasonError is what the log gave as its reason for having no use for a replica's state, or for ending its lease.
type ReasonError struct {
	Reason state.Reason
	Why    string // for a person; may be empty
}

func (e *ReasonError) Error() string {
	if e.Why == "" {
		return e.Reason.String()
	}
	return fmt.Sprintf("%v: %s", e.Reason, e.Why)
}

// Answer is what the log tells a replica that asks how it becomes current.
type Answer struct {
	Kind   state.Answer
	Reason ReasonError // of RESET
	Info   Partition
	From   int64  // where the log is followed from, once the answer is carried out
	Since  int64  // of DELTA
	Frame  *Frame // nil: there is none
	Lease  *Lease // nil: nothing is held
}

// Lease is what the log holds for a replica: the frame of an answer, and what follows its cut.
type Lease struct {
	ID      []byte
	Expires time.Time
}

// Resume asks how a replica becomes current. Errors: ErrNoHandshake, ErrBadAnswer, ErrRefused, ErrBarred, or the call's own.
func (p *Plane) Resume(ctx context.Context, req *state.ResumeRequest) (Answer, error) {
	resp, err := p.rpc.Resume(ctx, connect.NewRequest(req))
	switch code := CodeOf(err); {
	case err == nil:
		return toAnswer(req, resp.Msg)
	case code == connect.CodeUnimplemented:
		return Answer{}, fmt.Errorf("%w: %w", ErrNoHandshake, err)
	case refuses(err), code == connect.CodeInvalidArgument && len(req.Points) == 0:
		return Answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return Answer{}, p.barred(stateconnect.StateServiceResumeProcedure, err)
}

// toAnswer checks that an answer has what is needed to carry it out, and is about what was asked.
func toAnswer(req *state.ResumeRequest, m *state.ResumeResponse) (a Answer, err error) {
	a = Answer{Kind: m.Answer, Reason: ReasonError{m.Reason, m.Why}, From: m.From, Since: m.Since}
	if a.Info, err = toPartition(m.Partition); err != nil {
		return a, fmt.Errorf("%w: %w", ErrBadAnswer, err)
	}
	if m.Frame != nil {
		f, err := ToFrame(m.Frame)
		if err != nil {
			return a, fmt.Errorf("%w: frame %d: %w", ErrBadAnswer, m.Frame.Cut, err)
		}
		if f.Partition != req.Partition || f.Incarnation != a.Info.Incarnation || f.TopicID != a.Info.TopicID {
			return a, fmt.Errorf("%w: frame %d is of another log", ErrBadAnswer, f.Cut)
		}
		a.Frame = &f
	}
	if m.Lease != nil {
		a.Lease = &Lease{m.Lease.Id, time.UnixMilli(m.Lease.ExpiresMs)}
	}
	return a, a.check(req)
}

func (a *Answer) check(req *state.ResumeRequest) error {
	stateless := len(req.Incarnation) == 0
	position := int64(-1)
	if len(req.Points) > 0 {
		position = req.Points[0].Offset
	}
	bad := a.Info.Partition != req.Partition
	switch a.Kind {
	case state.Answer_ANSWER_CONTINUE:
		bad = bad || a.From < 0 || !stateless && a.From != position
	case state.Answer_ANSWER_DELTA:
		bad = bad || stateless || a.Frame == nil || a.Since != position || a.Frame.Cut < a.Since
	case state.Answer_ANSWER_REPAIR:
		bad = bad || stateless
	case state.Answer_ANSWER_FRAME:
		bad = bad || a.Frame == nil
	case state.Answer_ANSWER_RESET:
		bad = bad || stateless
	default:
		bad = true
	}
	if bad {
		return fmt.Errorf("%w: %v of partition %d from %d, since %d, to a position of %d", ErrBadAnswer, a.Kind, a.Info.Partition, a.From, a.Since, position)
	}
	return nil
}

// Renew keeps a lease and tells how far its replica is (-1: it has nothing yet), or ends it.
func (p *Plane) Renew(ctx context.Context, l Lease, position int64, release bool) (Lease, error) {
	resp, err := p.rpc.RenewLease(ctx, connect.NewRequest(&state.RenewLeaseRequest{Topic: p.topic, Id: l.ID, Position: position, Release: release}))
	if err != nil {
		return l, err
	}
	if m := resp.Msg.Lease; m != nil {
		l.Expires = time.UnixMilli(m.ExpiresMs)
	}
	return l, nil
}

// LeaseOver tells whether an error of Renew is the lease's end.
func LeaseOver(err error) (*ReasonError, bool) {
	switch why := ReasonOf(err); why {
	case state.Reason_REASON_LEASE_EXPIRED, state.Reason_REASON_LEASE_REVOKED, state.Reason_REASON_TOPIC_DELETED,
		state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_UNKNOWN_TOPIC, state.Reason_REASON_UNKNOWN_PARTITION:
		return &ReasonError{why, err.Error()}, true
	}
	return nil, false
}
