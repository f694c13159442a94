package kafka

import (
	"context"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describedPartitionsMax is Kafka's max.request.partition.size.limit.
const describedPartitionsMax = 2000

// describeTopicPartitions describes topics in the order of their names, a page at a time: as many partitions as the request allows,
// and where the next page begins (KIP-966).
func (h *Handler) describeTopicPartitions(_ context.Context, _ *wire.Request, req *kmsg.DescribeTopicPartitionsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTopicPartitionsResponse)
	names, ok := h.namesFrom(req)
	if !ok {
		for _, rt := range req.Topics {
			resp.Topics = append(resp.Topics, kmsg.DescribeTopicPartitionsResponseTopic{
				Topic: ptr(rt.Topic), ErrorCode: invalidRequest, AuthorizedOperations: noOperations})
		}
		return wire.Reply(resp)
	}
	left := min(max(int(req.ResponsePartitionLimit), 1), describedPartitionsMax)
	for _, name := range names {
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		out := kmsg.DescribeTopicPartitionsResponseTopic{Topic: ptr(name), AuthorizedOperations: topicOperations}
		t, code := h.lookup(topicRef{name: name})
		if code != none {
			if err := topics.CheckName(name); err != nil {
				code = codeOf(err)
			}
			out.ErrorCode = code
			resp.Topics = append(resp.Topics, out)
			continue
		}
		from := 0
		if req.Cursor != nil && req.Cursor.Topic == name {
			from = min(int(req.Cursor.Partition), len(t.Partitions))
		}
		end := min(from+left, len(t.Partitions))
		out.TopicID = t.ID
		for i := from; i < end; i++ {
			out.Partitions = append(out.Partitions, kmsg.DescribeTopicPartitionsResponseTopicPartition{
				Partition: int32(i), LeaderID: NodeID, LeaderEpoch: h.cfg.LeaderEpoch, Replicas: []int32{NodeID}, ISR: []int32{NodeID},
				EligibleLeaderReplicas: []int32{}, LastKnownELR: []int32{}, OfflineReplicas: []int32{},
			})
		}
		resp.Topics = append(resp.Topics, out)
		if left -= end - from; end < len(t.Partitions) {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: int32(end)}
			break
		}
	}
	return wire.Reply(resp)
}

// namesFrom are the topics of the request, or all, each once and in order, from the cursor's on; false for a cursor that cannot be.
func (h *Handler) namesFrom(req *kmsg.DescribeTopicPartitionsRequest) (names []string, ok bool) {
	asked := map[string]bool{}
	for _, rt := range req.Topics {
		asked[rt.Topic] = true
	}
	if len(req.Topics) == 0 {
		for _, t := range h.cfg.Registry.List() {
			asked[t.Name] = true
		}
	} else if req.Cursor != nil && !asked[req.Cursor.Topic] {
		return nil, false
	}
	if req.Cursor != nil && req.Cursor.Partition < 0 {
		return nil, false
	}
	names = slices.Sorted(maps.Keys(asked))
	if req.Cursor != nil {
		i, _ := slices.BinarySearch(names, req.Cursor.Topic)
		names = names[i:]
	}
	return names, true
}
