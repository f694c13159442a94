package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describeGroups shows classic groups and their members. A group that does not exist, or is of the new protocol, is Dead, and from v6 on
// an error.
func (h *Handler) describeGroups(_ context.Context, _ *wire.Request, req *kmsg.DescribeGroupsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	for _, name := range once(req.Groups) {
		out := kmsg.DescribeGroupsResponseGroup{Group: name, AuthorizedOperations: noOperations}
		switch d, ok, known := h.cfg.Groups.Describe(name); {
		case !ok:
			out.State = group.Dead.String()
			if req.Version >= 6 {
				out.ErrorCode, out.ErrorMessage = groupIDNotFound, ptr(fmt.Sprintf("Group %s not found.", name))
			}
			if req.Version >= 6 && known {
				out.ErrorMessage = ptr(fmt.Sprintf("Group %s is not a classic group.", name))
			}
		default:
			describeGroup(&out, d)
		}
		if req.IncludeAuthorizedOperations && out.ErrorCode == none {
			out.AuthorizedOperations = groupOperations
		}
		resp.Groups = append(resp.Groups, out)
	}
	return wire.Reply(resp)
}

func describeGroup(out *kmsg.DescribeGroupsResponseGroup, d group.Description) {
	out.State, out.ProtocolType, out.Protocol = d.State.String(), d.ProtocolType, d.Protocol
	for _, m := range d.Members {
		out.Members = append(out.Members, kmsg.DescribeGroupsResponseGroupMember{
			MemberID: m.MemberID, InstanceID: orNull(m.InstanceID), ClientID: m.ClientID, ClientHost: m.ClientHost,
			ProtocolMetadata: m.Metadata, MemberAssignment: m.Assignment})
	}
}
