package state

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/repair"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// codeOf maps the reasons to Connect's codes.
func codeOf(reason api.Reason) connect.Code {
	switch reason {
	case api.Reason_REASON_UNKNOWN_TOPIC, api.Reason_REASON_UNKNOWN_PARTITION, api.Reason_REASON_UNKNOWN_CUT,
		api.Reason_REASON_UNKNOWN_FRAME, api.Reason_REASON_TOPIC_DELETED:
		return connect.CodeNotFound
	case api.Reason_REASON_BROKER_CORRUPT:
		return connect.CodeDataLoss
	case api.Reason_REASON_NOT_KEY_FRAMED, api.Reason_REASON_OTHER_INCARNATION, api.Reason_REASON_LEASE_EXPIRED,
		api.Reason_REASON_LEASE_REVOKED, api.Reason_REASON_DISPUTED:
		return connect.CodeFailedPrecondition
	case api.Reason_REASON_BELOW_DELTA_START, api.Reason_REASON_ABOVE_LAST_STABLE, api.Reason_REASON_BELOW_HORIZON:
		return connect.CodeOutOfRange
	case api.Reason_REASON_BEHIND, api.Reason_REASON_PARTITION_FAILED:
		return connect.CodeUnavailable
	case api.Reason_REASON_TOO_MANY_SCANS, api.Reason_REASON_TOO_FAR_ABOVE_FRAME, api.Reason_REASON_TOO_MANY_REPAIRS,
		api.Reason_REASON_TOO_MANY_LEASES:
		return connect.CodeResourceExhausted
	case api.Reason_REASON_TOO_MANY_REPLICAS, api.Reason_REASON_TOO_MANY_WATCHES:
		return connect.CodeResourceExhausted
	case api.Reason_REASON_FUTURE_POSITION:
		return connect.CodeOutOfRange
	case api.Reason_REASON_AMBIGUOUS_POINT:
		return connect.CodeInvalidArgument
	}
	return connect.CodeInternal
}

// refuse is an error with a reason. The detail's reason is filled in.
func refuse(reason api.Reason, detail *api.ErrorDetail, format string, args ...any) *connect.Error {
	err := connect.NewError(codeOf(reason), fmt.Errorf(format, args...))
	detail.Reason = reason
	if d, encodeErr := connect.NewErrorDetail(detail); encodeErr == nil {
		err.AddDetail(d)
	}
	return err
}

// reasonOf is the reason that an error was refused for, if it was.
func reasonOf(err *connect.Error) api.Reason {
	if err == nil {
		return api.Reason_REASON_UNSPECIFIED
	}
	for _, d := range err.Details() {
		if value, decodeErr := d.Value(); decodeErr == nil {
			if detail, ok := value.(*api.ErrorDetail); ok {
				return detail.Reason
			}
		}
	}
	return api.Reason_REASON_UNSPECIFIED
}

// refuseAt is refuse for a point of one partition.
func refuseAt(reason api.Reason, t *keyframer.Topic, p *keyframer.Partition, offset int64, format string, args ...any) *connect.Error {
	b := p.Bounds()
	return refuse(reason, &api.ErrorDetail{
		Topic: t.Name, Partition: &p.Index, Offset: offset, DeltaStartOffset: b.DeltaStart, LastStableOffset: b.LastStable,
	}, format, args...)
}

// describe maps errors of the layers below. The partition is told of damage, so that it is mended.
func describe(t *keyframer.Topic, p *keyframer.Partition, err error) error {
	var known *connect.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	detail := &api.ErrorDetail{Topic: t.Name}
	if p != nil {
		detail.Partition = &p.Index
	}
	if p != nil {
		err = p.Damaged(err)
	}
	if p != nil && errors.Is(err, table.ErrNoFrame) { // storage knows the partition by a number of its own
		return refuse(api.Reason_REASON_UNKNOWN_FRAME, detail, "%s/%d has no key frame at this offset: Frames lists those that there are", t.Name, p.Index)
	}
	for _, m := range []struct {
		err    error
		reason api.Reason
	}{
		{keyframer.ErrDamaged, api.Reason_REASON_BROKER_CORRUPT},
		{repair.ErrCorrupt, api.Reason_REASON_BROKER_CORRUPT},
		{repair.ErrDisputed, api.Reason_REASON_DISPUTED},
		{repair.ErrBusy, api.Reason_REASON_TOO_MANY_REPAIRS},
		{keyframer.ErrFailed, api.Reason_REASON_PARTITION_FAILED},
		{keyframer.ErrUnknownTopic, api.Reason_REASON_UNKNOWN_TOPIC},
		{keyframer.ErrUnknownPartition, api.Reason_REASON_UNKNOWN_PARTITION},
		{keyframer.ErrNotKeyFramed, api.Reason_REASON_NOT_KEY_FRAMED},
		{keyframer.ErrUnknownCut, api.Reason_REASON_UNKNOWN_CUT},
		{table.ErrNoFrame, api.Reason_REASON_UNKNOWN_FRAME},
		{log.ErrTrimmed, api.Reason_REASON_BELOW_DELTA_START},
		{log.ErrNoTime, api.Reason_REASON_BELOW_DELTA_START},
		{live.ErrSeek, api.Reason_REASON_TOO_FAR_ABOVE_FRAME},
	} {
		if m.err == log.ErrTrimmed && p != nil && errors.Is(err, m.err) { // trimmed while it was read
			b := p.Bounds()
			detail.DeltaStartOffset, detail.LastStableOffset = b.DeltaStart, b.LastStable
			return refuse(m.reason, detail, "%w; %s", err, selection{topic: t}.readable(p))
		}
		if errors.Is(err, m.err) {
			return refuse(m.reason, detail, "%w", err)
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, keyframer.ErrClosed), errors.Is(err, keyframer.ErrReopening), errors.Is(err, log.ErrClosed), errors.Is(err, table.ErrClosed),
		errors.Is(err, repair.ErrClosed):
		return connect.NewError(connect.CodeUnavailable, err)
	case errors.Is(err, repair.ErrTooLarge):
		return connect.NewError(connect.CodeResourceExhausted, err)
	}
	return connect.NewError(connect.CodeInternal, err)
}
