package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// deleteRecords moves log starts up. Each is one sync, so other requests of the connection go on meanwhile. Of a partition that is named
// twice the last offset counts.
func (h *Handler) deleteRecords(_ context.Context, _ *wire.Request, req *kmsg.DeleteRecordsRequest) wire.Response {
	return wire.Later(func(ctx context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
		req.Topics = lastEntries(req.Topics, func(t *kmsg.DeleteRecordsRequestTopic) (topicRef, *[]kmsg.DeleteRecordsRequestTopicPartition) {
			return topicRef{name: t.Topic}, &t.Partitions
		}, func(p *kmsg.DeleteRecordsRequestTopicPartition) int32 { return p.Partition })
		for _, rt := range req.Topics {
			t, code := h.lookup(topicRef{name: rt.Topic})
			out := kmsg.DeleteRecordsResponseTopic{Topic: rt.Topic}
			for _, rp := range rt.Partitions {
				answer := kmsg.DeleteRecordsResponseTopicPartition{Partition: rp.Partition, LowWatermark: -1}
				p, pcode := partitionOf(t, code, rp.Partition)
				if answer.ErrorCode = pcode; pcode == none {
					start, err := h.cfg.Registry.DeleteRecords(ctx, t, p, rp.Offset)
					if answer.ErrorCode = codeOf(err); err == nil {
						answer.LowWatermark = start
					} else if answer.ErrorCode == unknownServerError || answer.ErrorCode == kafkaStorageError {
						h.cfg.Logger.Error("cannot delete records", "topic", rt.Topic, "partition", rp.Partition, "offset", rp.Offset, "error", err)
					}
				}
				out.Partitions = append(out.Partitions, answer)
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}
