package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// initProducerID gives an idempotent producer an id of its own, and a transactional one the id and the next epoch of its transactional
// id. A producer without a transactional id that sends the id it has gets a new one, as in Kafka.
func (h *Handler) initProducerID(_ context.Context, r *wire.Request, req *kmsg.InitProducerIDRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	var expected *txn.Producer
	switch {
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = invalidRequest
		return wire.Reply(resp)
	case req.ProducerID != -1:
		expected = &txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	}
	if req.TransactionalID != nil {
		if h.cfg.Transactions == nil {
			resp.ErrorCode = transactionalIDAuthorization // the code that all clients take as final at once
			h.cfg.Logger.Warn("transactional producer refused: there is no transaction coordinator", "transactional_id", *req.TransactionalID,
				"remote", r.Conn.RemoteAddr())
			return wire.Reply(resp)
		}
		a := h.cfg.Transactions.Init(*req.TransactionalID, milliseconds(req.TransactionTimeoutMillis), expected)
		return answerTxn(a, func(reply txn.Reply) wire.Message {
			resp.ErrorCode = fencedCode(reply.Err, req.Version >= 4)
			resp.ProducerID, resp.ProducerEpoch = reply.Producer.ID, reply.Producer.Epoch
			return resp
		})
	}
	id, err := h.cfg.Producers.NextProducerID()
	if err != nil {
		h.cfg.Logger.Error("cannot allocate a producer id", "error", err)
		resp.ErrorCode = codeOf(err)
		return wire.Reply(resp)
	}
	resp.ProducerID, resp.ProducerEpoch = id, 0
	return wire.Reply(resp)
}
