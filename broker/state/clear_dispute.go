package state

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
)

// ClearDispute implements the call.
func (s *service) ClearDispute(_ context.Context, req *connect.Request[api.ClearDisputeRequest]) (*connect.Response[api.ClearDisputeResponse], error) {
	sel, err := s.selectPartitions(req.Msg.Topic, &req.Msg.Partition)
	if err != nil {
		return nil, err
	}
	cleared, err := s.cfg.Replicas.ClearDispute(sel.topic.ID, req.Msg.Partition)
	if err != nil {
		return nil, describe(sel.topic, sel.partitions[0], fmt.Errorf("the dispute has ended, but is back when the broker starts again: %w", err))
	}
	return connect.NewResponse(&api.ClearDisputeResponse{Cleared: cleared}), nil
}
