package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/state"
)

var (
	errNoHandshake = errors.New("the state plane knows no handshake")
	errBadAnswer   = errors.New("the state plane's answer makes no sense")
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

// answer is what the log tells a replica that asks how it becomes current.
type answer struct {
	kind   state.Answer
	reason ReasonError // of RESET
	info   partitionInfo
	from   int64      // where the log is followed from, once the answer is carried out
	since  int64      // of DELTA
	frame  *frameInfo // nil: there is none
	lease  *lease     // nil: nothing is held
}

// lease is what the log holds for a replica: the frame of an answer, and what follows its cut.
type lease struct {
	id      []byte
	expires time.Time
}

// resume asks how a replica becomes current. Errors: errNoHandshake, errBadAnswer, ErrRefused, or the call's own.
func (p *plane) resume(ctx context.Context, req *state.ResumeRequest) (answer, error) {
	resp, err := p.rpc.Resume(ctx, connect.NewRequest(req))
	switch code := connect.CodeOf(err); {
	case err == nil:
		return toAnswer(req, resp.Msg)
	case code == connect.CodeUnimplemented:
		return answer{}, fmt.Errorf("%w: %w", errNoHandshake, err)
	case planeReason(err) == state.Reason_REASON_NOT_KEY_FRAMED, code == connect.CodeInvalidArgument && len(req.Points) == 0,
		code == connect.CodeUnauthenticated, code == connect.CodePermissionDenied:
		return answer{}, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return answer{}, err
}

// toAnswer checks that an answer has what is needed to carry it out, and is about what was asked.
func toAnswer(req *state.ResumeRequest, m *state.ResumeResponse) (a answer, err error) {
	a = answer{kind: m.Answer, reason: ReasonError{m.Reason, m.Why}, from: m.From, since: m.Since}
	if a.info, err = toPartitionInfo(m.Partition); err != nil {
		return a, fmt.Errorf("%w: %w", errBadAnswer, err)
	}
	if m.Frame != nil {
		f, err := toFrameInfo(m.Frame)
		if err != nil {
			return a, fmt.Errorf("%w: frame %d: %w", errBadAnswer, m.Frame.Cut, err)
		}
		if f.partition != req.Partition || f.incarnation != a.info.incarnation || f.topicID != a.info.topicID {
			return a, fmt.Errorf("%w: frame %d is of another log", errBadAnswer, f.cut)
		}
		a.frame = &f
	}
	if m.Lease != nil {
		a.lease = &lease{m.Lease.Id, time.UnixMilli(m.Lease.ExpiresMs)}
	}
	return a, a.check(req)
}

func (a *answer) check(req *state.ResumeRequest) error {
	stateless := len(req.Incarnation) == 0
	position := int64(-1)
	if len(req.Points) > 0 {
		position = req.Points[0].Offset
	}
	bad := a.info.partition != req.Partition
	switch a.kind {
	case state.Answer_ANSWER_CONTINUE:
		bad = bad || a.from < 0 || !stateless && a.from != position
	case state.Answer_ANSWER_DELTA:
		bad = bad || stateless || a.frame == nil || a.since != position || a.frame.cut < a.since
	case state.Answer_ANSWER_REPAIR:
		bad = bad || stateless
	case state.Answer_ANSWER_FRAME:
		bad = bad || a.frame == nil
	case state.Answer_ANSWER_RESET:
		bad = bad || stateless
	default:
		bad = true
	}
	if bad {
		return fmt.Errorf("%w: %v of partition %d from %d, since %d, to a position of %d", errBadAnswer, a.kind, a.info.partition, a.from, a.since, position)
	}
	return nil
}

// renew keeps a lease and tells how far its replica is (-1: it has nothing yet), or ends it.
func (p *plane) renew(ctx context.Context, l lease, position int64, release bool) (lease, error) {
	resp, err := p.rpc.RenewLease(ctx, connect.NewRequest(&state.RenewLeaseRequest{Topic: p.topic, Id: l.id, Position: position, Release: release}))
	if err != nil {
		return l, err
	}
	if m := resp.Msg.Lease; m != nil {
		l.expires = time.UnixMilli(m.ExpiresMs)
	}
	return l, nil
}

// leaseOver tells whether an error of renew is the lease's end.
func leaseOver(err error) (*ReasonError, bool) {
	switch why := planeReason(err); why {
	case state.Reason_REASON_LEASE_EXPIRED, state.Reason_REASON_LEASE_REVOKED, state.Reason_REASON_TOPIC_DELETED,
		state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_UNKNOWN_TOPIC, state.Reason_REASON_UNKNOWN_PARTITION:
		return &ReasonError{why, err.Error()}, true
	}
	return nil, false
}
