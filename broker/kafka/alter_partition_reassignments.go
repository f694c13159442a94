package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// alterPartitionReassignments accepts what is so already, replicas on the only broker, and refuses everything else.
func (h *Handler) alterPartitionReassignments(_ context.Context, _ *wire.Request, req *kmsg.AlterPartitionAssignmentsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	resp.AllowReplicationFactorChange = req.Version < 1 || req.AllowReplicationFactorChange
	for _, rt := range req.Topics {
		out := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: rt.Topic}
		for _, rp := range rt.Partitions {
			p := kmsg.AlterPartitionAssignmentsResponseTopicPartition{Partition: rp.Partition}
			if err := h.checkReassignment(rt.Topic, &rp); err != nil {
				p.ErrorCode, p.ErrorMessage = err.code, orNull(err.text)
			}
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) checkReassignment(topic string, rp *kmsg.AlterPartitionAssignmentsRequestTopicPartition) *refusal {
	t, ok := h.cfg.Registry.Get(topic)
	switch {
	case !ok:
		return &refusal{unknownTopicOrPartition, fmt.Sprintf("Unable to find a topic named %s.", topic)}
	case t.Partition(rp.Partition) == nil:
		return &refusal{unknownTopicOrPartition, fmt.Sprintf("Unable to find partition %s:%d.", topic, rp.Partition)}
	case rp.Replicas == nil: // cancels
		return &refusal{code: noReassignmentInProgress}
	}
	return checkReplicas(rp.Replicas)
}

// checkReplicas refuses a manual assignment to anything but the only broker.
func checkReplicas(replicas []int32) *refusal {
	refuse := func(format string, args ...any) *refusal {
		return &refusal{invalidReplicaAssignment, "The manual partition assignment includes " + fmt.Sprintf(format, args...)}
	}
	if len(replicas) == 0 {
		return refuse("an empty replica list.")
	}
	sorted := slices.Sorted(slices.Values(replicas))
	for i, broker := range sorted {
		if broker != NodeID {
			return refuse("broker %d, but no such broker is registered.", broker)
		}
		if i > 0 {
			return refuse("the broker %d more than once.", broker)
		}
	}
	return nil
}
