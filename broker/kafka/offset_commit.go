package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// offsetCommit stores offsets of a group, durably before it answers. Partitions are independent of each other, except
// that the sender is judged for all.
func (h *Handler) offsetCommit(_ context.Context, r *wire.Request, req *kmsg.OffsetCommitRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	var offsets []group.PartitionOffset
	var codes []*int16 // where the outcome of offsets[i] goes
	for _, rt := range req.Topics {
		resp.Topics = append(resp.Topics, kmsg.OffsetCommitResponseTopic{
			Topic: rt.Topic, TopicID: rt.TopicID, Partitions: make([]kmsg.OffsetCommitResponseTopicPartition, len(rt.Partitions))})
		out := resp.Topics[len(resp.Topics)-1].Partitions
		t, code := h.lookup(topicRef{name: rt.Topic, id: rt.TopicID, byID: req.Version >= 10})
		for i, rp := range rt.Partitions {
			out[i].Partition = rp.Partition
			if _, out[i].ErrorCode = partitionOf(t, code, rp.Partition); out[i].ErrorCode != none {
				continue
			}
			offsets = append(offsets, group.PartitionOffset{Topic: t.Name, Partition: rp.Partition, Offset: group.Offset{
				Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: orEmpty(rp.Metadata)}})
			codes = append(codes, &out[i].ErrorCode)
		}
	}
	if len(offsets) == 0 {
		return wire.Reply(resp)
	}
	ch := make(chan []*kerr.Error, 1)
	ref := group.MemberRef{MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID), Generation: req.Generation, NoEpochs: req.Version < 9}
	h.cfg.Groups.Commit(req.Group, ref, offsets, func(errs []*kerr.Error) { ch <- errs })
	return answerWith(r, ch, nil, func(errs []*kerr.Error) wire.Message {
		for i, err := range errs {
			*codes[i] = commitCode(err, req.Version)
		}
		return resp
	})
}

// commitCode: clients of before v9 do not know GROUP_ID_NOT_FOUND here.
func commitCode(err *kerr.Error, version int16) int16 {
	if err == kerr.GroupIDNotFound && version < 9 {
		err = kerr.IllegalGeneration
	}
	return kerrCode(err)
}
