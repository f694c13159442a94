package state

import (
	"context"
	"errors"
	"slices"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/lease"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

// RenewLease implements the call.
func (s *service) RenewLease(_ context.Context, req *connect.Request[api.RenewLeaseRequest]) (*connect.Response[api.RenewLeaseResponse], error) {
	m := req.Msg
	if len(m.Id) != 16 {
		return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("the id of a lease has 16 bytes"))
	}
	id := lease.ID(m.Id)
	if m.Release {
		if err := s.cfg.Leases.Release(id); err != nil {
			return nil, leaseError(m.Topic, nil, err)
		}
		return connect.NewResponse(&api.RenewLeaseResponse{}), nil
	}
	l, err := s.cfg.Leases.Renew(id, m.Position)
	if err == nil {
		err = s.checkLease(&l)
	}
	if err != nil {
		return nil, leaseError(m.Topic, nil, err)
	}
	return connect.NewResponse(&api.RenewLeaseResponse{Lease: leaseMessage(&l)}), nil
}

// checkLease looks whether what a lease names is there. It is, but for a topic that was deleted in this moment, and for a lease that came back
// with a crash after it had ended.
func (s *service) checkLease(l *lease.Lease) error {
	t, ok := s.cfg.Keyframer.Topic(l.Topic)
	if !ok || t.ID != l.TopicID {
		if s.cfg.TopicExists(l.Topic) && !ok {
			return s.revoke(l) // it is not key-framed any more
		}
		return firstError(s.cfg.Leases.DropTopic(l.TopicID), lease.ErrTopicDeleted)
	}
	p, err := t.Partition(l.Partition)
	if err != nil || p.Incarnation != l.Incarnation {
		return s.revoke(l)
	}
	there := false
	err = p.Retain(func(r keyframer.Retained) error {
		framed := slices.ContainsFunc(r.Frames, func(f table.Frame) bool { return f.Cut == l.Cut })
		there = r.Bounds.DeltaStart <= l.From && (framed || l.Position > l.Cut) && (l.Since < 0 || l.Position >= l.Cut || r.Horizon <= l.Since)
		return nil
	})
	if err != nil {
		return describe(t, p, err)
	}
	if !there {
		return s.revoke(l)
	}
	return nil
}

func (s *service) revoke(l *lease.Lease) error {
	return firstError(s.cfg.Leases.Revoke(l.ID), lease.ErrRevoked)
}

// leaseError maps the errors of leases.
func leaseError(topic string, p *keyframer.Partition, err error) error {
	detail := &api.ErrorDetail{Topic: clip(topic)}
	if p != nil {
		detail.Partition = &p.Index
	}
	switch {
	case errors.Is(err, lease.ErrExpired):
		return refuse(api.Reason_REASON_LEASE_EXPIRED, detail, "%w: ask Resume again", err)
	case errors.Is(err, lease.ErrRevoked):
		return refuse(api.Reason_REASON_LEASE_REVOKED, detail, "%w: ask Resume again", err)
	case errors.Is(err, lease.ErrTopicDeleted):
		return refuse(api.Reason_REASON_TOPIC_DELETED, detail, "%w", err)
	case errors.Is(err, lease.ErrTooMany):
		return refuse(api.Reason_REASON_TOO_MANY_LEASES, detail, "%w: try again", err)
	}
	return err
}

func leaseMessage(l *lease.Lease) *api.Lease {
	return &api.Lease{Id: l.ID[:], Topic: l.Topic, Partition: l.Partition, Replica: l.Replica, Cut: l.Cut, From: l.From, ExpiresMs: l.ExpiryMs}
}
