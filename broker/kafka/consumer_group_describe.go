package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/group/consumer"
	"github.com/keyframelog/keyframe/broker/wire"
)

const invalidGroupID int16 = 24

// consumerGroupDescribe shows the groups that the broker balances. A classic group is an error.
func (h *Handler) consumerGroupDescribe(_ context.Context, _ *wire.Request, req *kmsg.ConsumerGroupDescribeRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	for _, name := range once(req.Groups) {
		out := kmsg.NewConsumerGroupDescribeResponseGroup()
		out.Group = name
		d, ok, known := h.cfg.Groups.DescribeConsumer(name)
		switch {
		case name == "":
			out.ErrorCode = invalidGroupID
		case !ok && known:
			out.ErrorCode, out.ErrorMessage = groupIDNotFound, ptr(fmt.Sprintf("Group %s is not a consumer group.", name))
		case !ok:
			out.ErrorCode, out.ErrorMessage = groupIDNotFound, ptr(fmt.Sprintf("Group %s not found.", name))
		default:
			h.describeConsumerGroup(&out, d)
			if req.IncludeAuthorizedOperations {
				out.AuthorizedOperations = groupOperations
			}
		}
		resp.Groups = append(resp.Groups, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) describeConsumerGroup(out *kmsg.ConsumerGroupDescribeResponseGroup, d consumer.Description) {
	out.State, out.Epoch, out.AssignmentEpoch, out.AssignorName = string(d.State), d.Epoch, d.AssignmentEpoch, d.Assignor
	for _, m := range d.Members {
		dm := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		dm.MemberID, dm.InstanceID, dm.RackID, dm.MemberEpoch = m.MemberID, orNull(m.InstanceID), orNull(m.Rack), m.Epoch
		dm.ClientID, dm.ClientHost = m.ClientID, m.ClientHost
		dm.SubscribedTopics, dm.SubscribedTopicRegex = m.Names, ptr(m.Pattern)
		dm.Assignment, dm.TargetAssignment = h.describeAssignment(m.Assigned), h.describeAssignment(m.Target)
		if dm.MemberType = 1; m.Classic {
			dm.MemberType = 0
		}
		out.Members = append(out.Members, dm)
	}
}

// describeAssignment names the topics. One that was deleted has no name any more and is left out.
func (h *Handler) describeAssignment(p assign.Partitions) (out kmsg.Assignment) {
	for _, id := range p.Topics() {
		if t, ok := h.cfg.Registry.ByID(id); ok {
			out.TopicPartitions = append(out.TopicPartitions, kmsg.AssignmentTopicPartition{TopicID: id, Topic: t.Name, Partitions: p[id]})
		}
	}
	return out
}
