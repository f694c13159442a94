package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// initProducerID gives an idempotent producer an id of its own. A producer that sends the id it has gets a new one, as in
// Kafka: only a transactional id could tie the two together.
func (h *Handler) initProducerID(_ context.Context, r *wire.Request, req *kmsg.InitProducerIDRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if id := req.TransactionalID; id != nil {
		resp.ErrorCode = invalidRequest
		if *id != "" {
			// Transactions are not offered yet. This is the code that all clients take as final at once; others are retried
			// by some until the application's time-out.
			resp.ErrorCode = transactionalIDAuthorization
			h.cfg.Logger.Warn("transactional producer refused: transactions are not supported yet; unset transactional.id",
				"transactional_id", *id, "remote", r.Conn.RemoteAddr())
		}
		return wire.Reply(resp)
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
