package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// syncGroup takes the leader's assignment, and answers each member with its part of it when that is durable.
func (h *Handler) syncGroup(_ context.Context, r *wire.Request, req *kmsg.SyncGroupRequest) wire.Response {
	sync := group.SyncRequest{
		MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID), Generation: req.Generation,
		ProtocolType: orEmpty(req.ProtocolType), Protocol: orEmpty(req.Protocol),
	}
	for _, a := range req.GroupAssignment {
		sync.Assignments = append(sync.Assignments, group.Assignment{MemberID: a.MemberID, Assignment: a.MemberAssignment})
	}
	answer := func(reply group.SyncReply) wire.Message {
		resp := req.ResponseKind().(*kmsg.SyncGroupResponse)
		resp.ErrorCode = kerrCode(reply.Err)
		resp.ProtocolType, resp.Protocol = orNull(reply.ProtocolType), orNull(reply.Protocol)
		resp.MemberAssignment = reply.Assignment
		return resp
	}
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		return wire.Reply(answer(group.SyncReply{Err: kerr.InconsistentGroupProtocol}))
	}
	ch := make(chan group.SyncReply, 1)
	h.cfg.Groups.Sync(req.Group, sync, func(reply group.SyncReply) { ch <- reply })
	return answerWith(r, ch, &group.SyncReply{Err: kerr.NotCoordinator}, answer)
}
