package state

import (
	"context"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
)

// Replicas implements the call.
func (s *service) Replicas(_ context.Context, req *connect.Request[api.ReplicasRequest]) (*connect.Response[api.ReplicasResponse], error) {
	topic := req.Msg.Topic
	if topic != "" {
		if _, err := s.topic(topic); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&api.ReplicasResponse{Replicas: s.cfg.Replicas.Replicas(topic), Disputes: s.cfg.Replicas.Disputes(topic)}), nil
}
