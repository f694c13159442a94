package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/group/consumer"
	"github.com/keyframelog/keyframe/broker/wire"
)

// consumerGroupHeartbeat is all that a member of a group sends which the broker balances (KIP-848): to join, to stay, to learn and
// acknowledge its assignment, and to leave. The answer comes when what it says is durable.
func (h *Handler) consumerGroupHeartbeat(_ context.Context, r *wire.Request, req *kmsg.ConsumerGroupHeartbeatRequest) wire.Response {
	beat := consumer.HeartbeatRequest{
		MemberID: req.MemberID, Epoch: req.MemberEpoch, InstanceID: req.InstanceID, Rack: req.RackID,
		Rebalance: milliseconds(req.RebalanceTimeoutMillis), Names: req.SubscribedTopicNames, Pattern: req.SubscribedTopicRegex,
		Assignor: req.ServerAssignor, ClientID: r.ClientID, ClientHost: clientHost(r.Conn.RemoteAddr()),
	}
	if req.Topics != nil {
		owned := map[consumer.TopicID][]int32{}
		for _, t := range req.Topics {
			owned[t.TopicID] = append(owned[t.TopicID], t.Partitions...)
		}
		beat.Owned = assign.Of(owned)
	}
	ch := make(chan consumer.HeartbeatReply, 1)
	h.cfg.Groups.ConsumerHeartbeat(req.Group, beat, req.Version == 0, func(reply consumer.HeartbeatReply) { ch <- reply })
	return answerWith(r, ch, nil, func(reply consumer.HeartbeatReply) wire.Message { return consumerHeartbeatResponse(req, reply) })
}

func consumerHeartbeatResponse(req *kmsg.ConsumerGroupHeartbeatRequest, reply consumer.HeartbeatReply) wire.Message {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
	if reply.Err != nil {
		resp.ErrorCode, resp.ErrorMessage = reply.Err.Code, &reply.Message
		return resp
	}
	resp.MemberID, resp.MemberEpoch = &reply.MemberID, reply.Epoch
	resp.HeartbeatIntervalMillis = int32(reply.Interval.Milliseconds())
	if reply.Assignment != nil {
		resp.Assignment = &kmsg.ConsumerGroupHeartbeatResponseAssignment{}
		for _, id := range reply.Assignment.Topics() {
			resp.Assignment.Topics = append(resp.Assignment.Topics,
				kmsg.ConsumerGroupHeartbeatResponseAssignmentTopic{TopicID: id, Partitions: reply.Assignment[id]})
		}
	}
	return resp
}
