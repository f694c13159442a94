package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// heartbeat keeps a member in its group.
func (h *Handler) heartbeat(_ context.Context, _ *wire.Request, req *kmsg.HeartbeatRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
	resp.ErrorCode = kerrCode(h.cfg.Groups.Heartbeat(req.Group, group.MemberRef{
		MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID), Generation: req.Generation,
	}))
	return wire.Reply(resp)
}
