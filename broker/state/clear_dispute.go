package state

import (
	"context"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
)

// ClearDispute implements the call.
func (s *service) ClearDispute(_ context.Context, req *connect.Request[api.ClearDisputeRequest]) (*connect.Response[api.ClearDisputeResponse], error) {
	sel, err := s.selectPartitions(req.Msg.Topic, &req.Msg.Partition)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&api.ClearDisputeResponse{Cleared: s.cfg.Replicas.ClearDispute(sel.topic.ID, req.Msg.Partition)}), nil
}
