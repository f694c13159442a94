package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// listTransactions lists the transactional ids that pass all filters: states, producer ids, from v1 on how long ago the transaction
// began, from v2 on a pattern.
func (h *Handler) listTransactions(_ context.Context, _ *wire.Request, req *kmsg.ListTransactionsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ListTransactionsResponse)
	f := txn.Filter{States: req.StateFilters, ProducerIDs: req.ProducerIDFilters, LongerThanMs: -1, Pattern: orEmpty(req.TransactionalIDPattern)}
	if req.Version >= 1 {
		f.LongerThanMs = req.DurationFilterMillis
	}
	list, unknown, err := h.cfg.Transactions.List(f)
	resp.ErrorCode, resp.UnknownStateFilters = kerrCode(err), unknown
	for _, l := range list {
		resp.TransactionStates = append(resp.TransactionStates, kmsg.ListTransactionsResponseTransactionState{
			TransactionalID: l.ID, ProducerID: l.ProducerID, TransactionState: l.State.String()})
	}
	return wire.Reply(resp)
}
