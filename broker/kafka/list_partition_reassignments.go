package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// listPartitionReassignments lists none: with one broker nothing moves. Unknown topics are no error, as in Kafka.
func (h *Handler) listPartitionReassignments(_ context.Context, _ *wire.Request, req *kmsg.ListPartitionReassignmentsRequest) wire.Response {
	return wire.Reply(req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse))
}
