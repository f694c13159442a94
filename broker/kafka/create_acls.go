package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// createACLs refuses each, as Kafka does without an authorizer.
func (h *Handler) createACLs(_ context.Context, _ *wire.Request, req *kmsg.CreateACLsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.CreateACLsResponse)
	for range req.Creations {
		resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: securityDisabled, ErrorMessage: ptr("No Authorizer is configured.")})
	}
	return wire.Reply(resp)
}
