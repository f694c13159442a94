package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// addOffsetsToTxn says that offsets of a group are going to be committed in the transaction.
func (h *Handler) addOffsetsToTxn(_ context.Context, _ *wire.Request, req *kmsg.AddOffsetsToTxnRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.AddOffsetsToTxnResponse)
	p := txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	return answerTxn(h.cfg.Transactions.AddGroup(req.TransactionalID, p, req.Group), func(reply txn.Reply) wire.Message {
		resp.ErrorCode = fencedCode(reply.Err, req.Version >= 2)
		return resp
	})
}
