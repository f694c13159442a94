package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// leaveGroup takes members out of their group: the sender, or from v3 on any, with an error for each.
func (h *Handler) leaveGroup(_ context.Context, _ *wire.Request, req *kmsg.LeaveGroupRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.LeaveGroupResponse)
	members := req.Members
	if req.Version < 3 {
		members = []kmsg.LeaveGroupRequestMember{{MemberID: req.MemberID}}
	}
	refs := make([]group.MemberRef, len(members))
	for i, m := range members {
		refs[i] = group.MemberRef{MemberID: m.MemberID, InstanceID: orEmpty(m.InstanceID)}
	}
	errs, err := h.cfg.Groups.Leave(req.Group, refs)
	if err == kerr.UnknownMemberID { // there is no such group: nobody is a member of it
		errs, err = make([]*kerr.Error, len(refs)), nil
		for i := range errs {
			errs[i] = kerr.UnknownMemberID
		}
	}
	switch {
	case err != nil:
		resp.ErrorCode = err.Code
	case req.Version < 3:
		resp.ErrorCode = kerrCode(errs[0])
	default:
		for i, m := range members {
			resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{
				MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: kerrCode(errs[i])})
		}
	}
	return wire.Reply(resp)
}
