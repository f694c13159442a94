package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// The types of election; v0 knows the first only.
const (
	preferredElection = 0
	uncleanElection   = 1
)

// electLeaders elects nobody: the only broker leads every partition. Of those that are asked for by name it says so; asked for all,
// Kafka names the topics and no partition.
func (h *Handler) electLeaders(_ context.Context, _ *wire.Request, req *kmsg.ElectLeadersRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	badType := req.Version >= 1 && req.ElectionType != preferredElection && req.ElectionType != uncleanElection
	if badType {
		resp.ErrorCode = invalidRequest
	}
	if req.Topics == nil && !badType {
		for _, t := range h.cfg.Registry.List() {
			resp.Topics = append(resp.Topics, kmsg.ElectLeadersResponseTopic{Topic: t.Name})
		}
	}
	for _, rt := range req.Topics {
		t, unknown := h.lookup(topicRef{name: rt.Topic})
		out := kmsg.ElectLeadersResponseTopic{Topic: rt.Topic}
		for _, index := range rt.Partitions {
			p := kmsg.ElectLeadersResponseTopicPartition{Partition: index}
			switch {
			case badType:
				p.ErrorCode, p.ErrorMessage = invalidRequest, ptr(fmt.Sprintf("Unknown election type %d", req.ElectionType))
			case unknown != none:
				p.ErrorCode, p.ErrorMessage = unknownTopicOrPartition, ptr("No such topic as "+rt.Topic)
			case t.Partition(index) == nil:
				p.ErrorCode, p.ErrorMessage = unknownTopicOrPartition, ptr(fmt.Sprintf("No such partition as %s-%d", rt.Topic, index))
			default:
				p.ErrorCode, p.ErrorMessage = electionNotNeeded, ptr("Leader election not needed for topic partition.")
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}
