package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// describeACLs answers as Kafka does without an authorizer: there are no ACLs here.
func (h *Handler) describeACLs(_ context.Context, _ *wire.Request, req *kmsg.DescribeACLsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeACLsResponse)
	resp.ErrorCode, resp.ErrorMessage = securityDisabled, ptr("No Authorizer is configured on the broker")
	return wire.Reply(resp)
}
