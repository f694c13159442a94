package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/log"
)

// writeTxnMarkers writes markers that an administrator asks for, to end a transaction that hangs in partitions (KIP-664: kafka-transactions
// abort). The transaction coordinator is not asked and not told. What of a marker is accepted is written in all of its partitions or in
// none, and is durable and visible before the answer.
func (h *Handler) writeTxnMarkers(_ context.Context, _ *wire.Request, req *kmsg.WriteTxnMarkersRequest) wire.Response {
	return wire.Later(func(context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
		for i := range req.Markers {
			resp.Markers = append(resp.Markers, h.writeMarker(&req.Markers[i]))
		}
		return resp
	})
}

func (h *Handler) writeMarker(m *kmsg.WriteTxnMarkersRequestMarker) kmsg.WriteTxnMarkersResponseMarker {
	answer := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
	codes := map[log.PartitionID][]*int16{} // where the outcome of a partition goes
	var partitions []*log.Partition
	for _, rt := range m.Topics {
		t, code := h.lookup(topicRef{name: rt.Topic})
		out := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: rt.Topic, Partitions: make([]kmsg.WriteTxnMarkersResponseMarkerTopicPartition, len(rt.Partitions))}
		for i, index := range rt.Partitions {
			to := &out.Partitions[i]
			to.Partition = index
			var p *topics.Partition
			if p, to.ErrorCode = partitionOf(t, code, index); to.ErrorCode == none {
				codes[p.Log.ID()] = append(codes[p.Log.ID()], &to.ErrorCode)
				partitions = append(partitions, p.Log)
			}
		}
		answer.Topics = append(answer.Topics, out)
	}
	tell := func(id log.PartitionID, code int16) {
		for _, c := range codes[id] {
			*c = code
		}
	}
	if m.ProducerID < 0 || m.ProducerEpoch < 0 {
		for id := range codes {
			tell(id, unknownServerError)
		}
		return answer
	}
	marker := log.Marker{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Committed,
		Bumped: m.TransactionVersion >= 2, Foreign: true}
	for len(partitions) > 0 {
		err := appendMarkers(h.cfg.Log, partitions, marker)
		var refused *log.SequenceError
		if !errors.As(err, &refused) {
			for _, p := range partitions {
				tell(p.ID(), codeOf(err))
			}
			break
		}
		tell(refused.Partition, codeOf(err)) // nothing was written: the others again
		var others []*log.Partition
		for _, p := range partitions {
			if p.ID() != refused.Partition {
				others = append(others, p)
			}
		}
		partitions = others
	}
	return answer
}

func appendMarkers(store *log.Store, partitions []*log.Partition, m log.Marker) error {
	a, err := store.AppendMarkers(partitions, m, nil)
	if err != nil {
		return err
	}
	<-a.Done()
	return a.Err()
}
