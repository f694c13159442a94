package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// endTxn commits or aborts a transaction. It is answered when the markers of all partitions are durable and visible, and the offsets
// with them: whoever reads after the answer reads its outcome. From v5 on the answer has the producer's next epoch (KIP-890).
func (h *Handler) endTxn(_ context.Context, _ *wire.Request, req *kmsg.EndTxnRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.EndTxnResponse)
	p := txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	return answerTxn(h.cfg.Transactions.End(req.TransactionalID, p, req.Commit, req.Version >= 5), func(reply txn.Reply) wire.Message {
		resp.ErrorCode = fencedCode(reply.Err, req.Version >= 2)
		resp.ProducerID, resp.ProducerEpoch = reply.Producer.ID, reply.Producer.Epoch
		return resp
	})
}
