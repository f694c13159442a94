package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describeProducers shows the idempotent producers that partitions know, and where their open transactions begin.
func (h *Handler) describeProducers(_ context.Context, _ *wire.Request, req *kmsg.DescribeProducersRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	type place struct {
		topic string
		index int32
	}
	seen := map[place]bool{} // as once
	for _, rt := range req.Topics {
		out := kmsg.DescribeProducersResponseTopic{Topic: rt.Topic}
		t, code := h.lookup(topicRef{name: rt.Topic})
		var message *string
		if err := topics.CheckName(rt.Topic); err != nil {
			code, message = codeOf(err), ptr(err.Error())
		}
		for _, index := range rt.Partitions {
			if at := (place{rt.Topic, index}); seen[at] {
				continue
			} else {
				seen[at] = true
			}
			answer := kmsg.DescribeProducersResponseTopicPartition{Partition: index, ErrorMessage: message}
			var p *topics.Partition
			if p, answer.ErrorCode = partitionOf(t, code, index); answer.ErrorCode == none {
				answer.ActiveProducers = activeProducers(p)
			}
			out.Partitions = append(out.Partitions, answer)
		}
		resp.Topics = append(resp.Topics, out)
	}
	return wire.Reply(resp)
}

func activeProducers(p *topics.Partition) (list []kmsg.DescribeProducersResponseTopicPartitionActiveProducer) {
	for _, s := range p.Log.ProducerStates() {
		list = append(list, kmsg.DescribeProducersResponseTopicPartitionActiveProducer{
			ProducerID: s.ProducerID, ProducerEpoch: int32(s.Epoch), LastSequence: s.LastSequence, LastTimestamp: s.AppendTimeMs,
			CoordinatorEpoch: s.CoordinatorEpoch, CurrentTxnStartOffset: s.TxnFirstOffset})
	}
	return list
}
