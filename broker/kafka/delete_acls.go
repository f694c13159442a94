package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// deleteACLs refuses each filter, as Kafka does without an authorizer.
func (h *Handler) deleteACLs(_ context.Context, _ *wire.Request, req *kmsg.DeleteACLsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DeleteACLsResponse)
	for range req.Filters {
		resp.Results = append(resp.Results, kmsg.DeleteACLsResponseResult{ErrorCode: securityDisabled, ErrorMessage: ptr("No Authorizer is configured.")})
	}
	return wire.Reply(resp)
}
