package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// offsetDelete removes offsets of a group that none of its members needs. Partitions are independent of each other.
func (h *Handler) offsetDelete(_ context.Context, r *wire.Request, req *kmsg.OffsetDeleteRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
	var list []group.TopicPartition
	var codes []*int16 // where the outcome of list[i] goes
	for _, rt := range req.Topics {
		out := make([]kmsg.OffsetDeleteResponseTopicPartition, len(rt.Partitions))
		resp.Topics = append(resp.Topics, kmsg.OffsetDeleteResponseTopic{Topic: rt.Topic, Partitions: out})
		t, code := h.lookup(topicRef{name: rt.Topic})
		for i, rp := range rt.Partitions {
			out[i].Partition = rp.Partition
			if _, out[i].ErrorCode = partitionOf(t, code, rp.Partition); out[i].ErrorCode == none {
				list, codes = append(list, group.TopicPartition{Topic: rt.Topic, Partition: rp.Partition}), append(codes, &out[i].ErrorCode)
			}
		}
	}
	type outcome struct {
		all  *kerr.Error
		each []*kerr.Error
	}
	ch := make(chan outcome, 1)
	h.cfg.Groups.DeleteOffsets(req.Group, list, func(all *kerr.Error, each []*kerr.Error) { ch <- outcome{all, each} })
	return answerWith(r, ch, nil, func(o outcome) wire.Message {
		if o.all != nil {
			resp.ErrorCode, resp.Topics = kerrCode(o.all), nil
			return resp
		}
		for i, err := range o.each {
			*codes[i] = kerrCode(err)
		}
		return resp
	})
}
