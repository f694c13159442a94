package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/storage/log"
)

// writeTxnMarkers writes markers that an administrator asks for, to end a transaction that hangs in partitions (KIP-664: kafka-transactions
// abort). The transaction coordinator is not asked and not told. What of a marker is accepted is written in all of its partitions or in
// none, and is durable and visible before the answer. The markers of a request share syncs.
func (h *Handler) writeTxnMarkers(_ context.Context, _ *wire.Request, req *kmsg.WriteTxnMarkersRequest) wire.Response {
	return wire.Later(func(context.Context) wire.Message {
		resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
		written := make([]markerWrite, len(req.Markers))
		for i := range req.Markers {
			m := &req.Markers[i]
			resp.Markers = append(resp.Markers, h.markerAnswer(m, &written[i]))
			written[i].begin(h.cfg.Log, m)
		}
		for i := range written {
			written[i].await()
		}
		return resp
	})
}

// markerAnswer answers what can be told without writing, and notes where the other codes go.
func (h *Handler) markerAnswer(m *kmsg.WriteTxnMarkersRequestMarker, w *markerWrite) kmsg.WriteTxnMarkersResponseMarker {
	answer := kmsg.WriteTxnMarkersResponseMarker{ProducerID: m.ProducerID}
	w.codes = map[log.PartitionID][]*int16{}
	for _, rt := range m.Topics {
		t, code := h.lookup(topicRef{name: rt.Topic})
		out := kmsg.WriteTxnMarkersResponseMarkerTopic{Topic: rt.Topic, Partitions: make([]kmsg.WriteTxnMarkersResponseMarkerTopicPartition, len(rt.Partitions))}
		for i, index := range rt.Partitions {
			to := &out.Partitions[i]
			to.Partition = index
			var p *topics.Partition
			if p, to.ErrorCode = partitionOf(t, code, index); to.ErrorCode == none {
				w.codes[p.Log.ID()] = append(w.codes[p.Log.ID()], &to.ErrorCode)
				w.partitions = append(w.partitions, p.Log)
			}
		}
		answer.Topics = append(answer.Topics, out)
	}
	return answer
}

// markerWrite is one marker on its way.
type markerWrite struct {
	partitions []*log.Partition
	codes      map[log.PartitionID][]*int16 // where the outcome of a partition goes; those of refused ones are gone
	appended   *log.Appended                // nil: nothing is on its way
}

func (w *markerWrite) begin(store *log.Store, m *kmsg.WriteTxnMarkersRequestMarker) {
	if len(w.partitions) == 0 {
		return
	}
	if m.ProducerID < 0 || m.ProducerEpoch < 0 {
		w.tell(unknownServerError)
		return
	}
	a, err := store.AppendMarkers(w.partitions, log.Marker{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch,
		Commit: m.Committed, Bumped: m.TransactionVersion >= 2, Foreign: true}, nil)
	if err != nil {
		w.tell(codeOf(err))
		return
	}
	for _, refused := range a.Refused {
		for _, to := range w.codes[refused.Partition] {
			*to = codeOf(refused)
		}
		delete(w.codes, refused.Partition)
	}
	w.appended = a
}

func (w *markerWrite) await() {
	if w.appended == nil {
		return
	}
	<-w.appended.Done()
	w.tell(codeOf(w.appended.Err()))
}

func (w *markerWrite) tell(code int16) {
	for _, list := range w.codes {
		for _, to := range list {
			*to = code
		}
	}
}
