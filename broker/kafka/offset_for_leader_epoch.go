package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// offsetForLeaderEpoch says where an epoch ended, so that a consumer can find out whether its position is still on this log
// (KIP-320).
func (h *Handler) offsetForLeaderEpoch(_ context.Context, _ *wire.Request, req *kmsg.OffsetForLeaderEpochRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for _, rt := range req.Topics {
		t, code := h.lookup(topicRef{name: rt.Topic})
		out := kmsg.OffsetForLeaderEpochResponseTopic{Topic: rt.Topic}
		for _, rp := range rt.Partitions {
			answer := kmsg.OffsetForLeaderEpochResponseTopicPartition{Partition: rp.Partition, LeaderEpoch: -1, EndOffset: -1}
			p, pcode := partitionOf(t, code, rp.Partition)
			if pcode == none {
				pcode = h.checkEpoch(rp.CurrentLeaderEpoch)
			}
			if answer.ErrorCode = pcode; pcode == none {
				answer.LeaderEpoch, answer.EndOffset = p.Log.EpochEnd(rp.LeaderEpoch)
			}
			out.Partitions = append(out.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}
