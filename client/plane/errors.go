package plane

import (
	"errors"
	"fmt"
	"net/url"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/state"
)

var (
	// ErrRefused is wrapped where the state plane says that asking again will not help: the topic is not key-framed, or the request is
	// not admitted. What only looks so because the answer was damaged on its way is not among it, see CodeOf.
	ErrRefused = errors.New("the state plane refuses this replica")
	// ErrBarred is wrapped where something in between does not let a call through: HTTP status 401 or 403, and no word of the broker's. It may pass.
	ErrBarred = errors.New("something in front of the state plane does not let the call through")
	// ErrNoPartition is wrapped where it does not know a partition.
	ErrNoPartition = errors.New("the state plane does not know the partition")
	// ErrNoFrame: the frame is not there, or no longer.
	ErrNoFrame = errors.New("the log has no such key frame")
	// ErrFrameChanged: another frame took its place.
	ErrFrameChanged = errors.New("the key frame changed while it was read")
	// ErrOtherIncarnation: the log was created anew.
	ErrOtherIncarnation = errors.New("the log is of another incarnation")
	// ErrNotComparable: the log has no digest to compare with at an offset.
	ErrNotComparable = errors.New("the log cannot tell its digest at this offset")
	// ErrNoHandshake: it is one of before Resume.
	ErrNoHandshake = errors.New("the state plane knows no handshake")
	// ErrBadAnswer: an answer lacks what is needed to carry it out, or is about something else.
	ErrBadAnswer = errors.New("the state plane's answer makes no sense")
	// ErrUnrepairable is wrapped where the broker says that what it has is damaged, or that replicas agree with one another and not with it. What
	// it has must not be spread.
	ErrUnrepairable = errors.New("the broker has nothing to repair from")
	// ErrBusy: ask again.
	ErrBusy = errors.New("the broker is busy with others")
	// ErrLied: what it answers contradicts what it said before.
	ErrLied = errors.New("the state plane contradicts itself")
)

// ErrDisputed is the ErrUnrepairable of who knows that a partition is disputed, and need not ask.
var ErrDisputed = fmt.Errorf("%w: replicas agree with one another and not with it, until its operator settles that", ErrUnrepairable)

// Disputed tells whether the broker refuses because replicas agree with one another and not with it.
func Disputed(err error) bool {
	return errors.Is(err, ErrDisputed) || ReasonOf(err) == state.Reason_REASON_DISPUTED
}

// CodeOf is the code that the broker answered with. An error that the client made itself is no word of the broker's, whatever its code: connect-go calls an
// answer that does not decompress or is no message, because a bit of it was flipped on its way, an invalid argument. It is Unavailable here, but for a
// call that nobody there knows (Unimplemented: of a broker of before it, an HTTP status), and for the end of the caller's own context.
func CodeOf(err error) connect.Code {
	code := connect.CodeOf(err)
	var call *connect.Error
	if connect.IsWireError(err) || !errors.As(err, &call) {
		return code
	}
	switch code {
	case connect.CodeUnimplemented, connect.CodeCanceled, connect.CodeDeadlineExceeded:
		return code
	}
	return connect.CodeUnavailable
}

// barred names the call that something in between did not let through.
func (p *Plane) barred(procedure string, err error) error {
	code := connect.CodeOf(err)
	if connect.IsWireError(err) || code != connect.CodeUnauthenticated && code != connect.CodePermissionDenied {
		return err
	}
	return fmt.Errorf("%w: POST %s%s: %w", ErrBarred, p.base, procedure, err)
}

// refuses tells whether the broker itself says that this topic is not for replicas, or this client not admitted.
func refuses(err error) bool {
	code := CodeOf(err)
	return ReasonOf(err) == state.Reason_REASON_NOT_KEY_FRAMED || code == connect.CodeUnauthenticated || code == connect.CodePermissionDenied
}

// ReasonOf finds the reason that the state plane attaches to its errors.
func ReasonOf(err error) state.Reason {
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return state.Reason_REASON_UNSPECIFIED
	}
	for _, d := range ce.Details() {
		if v, err := d.Value(); err == nil {
			if detail, ok := v.(*state.ErrorDetail); ok {
				return detail.Reason
			}
		}
	}
	return state.Reason_REASON_UNSPECIFIED
}

// classify turns an error of DigestAt into errors of ours.
func classify(err error) error {
	switch ReasonOf(err) {
	case state.Reason_REASON_OTHER_INCARNATION:
		return fmt.Errorf("%w: %w", ErrOtherIncarnation, err)
	case state.Reason_REASON_BELOW_DELTA_START, state.Reason_REASON_ABOVE_LAST_STABLE,
		state.Reason_REASON_TOO_FAR_ABOVE_FRAME, state.Reason_REASON_BEHIND, state.Reason_REASON_PARTITION_FAILED:
		return fmt.Errorf("%w: %w", ErrNotComparable, err)
	}
	return err
}

// ClassifyRepair wraps what a call for a repair may fail with in what there is to do about it.
func ClassifyRepair(err error) error {
	switch ReasonOf(err) {
	case state.Reason_REASON_BROKER_CORRUPT, state.Reason_REASON_DISPUTED:
		return fmt.Errorf("%w: %w", ErrUnrepairable, err)
	case state.Reason_REASON_TOO_MANY_REPAIRS, state.Reason_REASON_TOO_MANY_LEASES, state.Reason_REASON_TOO_MANY_SCANS, state.Reason_REASON_BEHIND:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case state.Reason_REASON_UNKNOWN_FRAME, state.Reason_REASON_UNKNOWN_CUT:
		return fmt.Errorf("%w: %w", ErrNoFrame, err)
	case state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_TOPIC_DELETED:
		return fmt.Errorf("%w: %w", ErrOtherIncarnation, err)
	}
	return err
}

// Passing tells whether a call that failed may succeed when it is made again.
func Passing(err error) bool {
	if ReasonOf(err) != state.Reason_REASON_UNSPECIFIED {
		return false
	}
	for _, is := range []error{ // the answer came
		ErrLied, ErrTooMuch, ErrNoFrame, ErrFrameChanged, ErrRefused, ErrOtherIncarnation, ErrNotComparable, ErrBadAnswer,
	} {
		if errors.Is(err, is) {
			return false
		}
	}
	switch CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeAborted, connect.CodeInternal, connect.CodeUnknown, connect.CodeCanceled:
		return true
	}
	return false
}

// Away tells whether a call failed because nobody answered it, or nothing that can be read: the broker restarts, or cannot be reached.
func Away(err error) bool {
	var call *connect.Error
	var get *url.Error
	return Passing(err) && (errors.As(err, &call) || errors.As(err, &get))
}
