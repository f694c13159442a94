package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// describeTransactions shows transactional ids, with the partitions of the transactions that are open. Groups that offsets are committed
// to are not shown: Kafka shows the partitions of a topic that is not here.
func (h *Handler) describeTransactions(_ context.Context, _ *wire.Request, req *kmsg.DescribeTransactionsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range once(req.TransactionalIDs) {
		out := kmsg.DescribeTransactionsResponseTransactionState{TransactionalID: id}
		d, err := h.cfg.Transactions.Describe(id)
		if err != nil {
			out.ErrorCode = kerrCode(err)
			resp.TransactionStates = append(resp.TransactionStates, out)
			continue
		}
		out.State, out.TimeoutMillis, out.StartTimestamp = d.State.String(), int32(d.Timeout.Milliseconds()), d.StartMs
		out.ProducerID, out.ProducerEpoch = d.Producer.ID, d.Producer.Epoch
		at := map[string]int{}
		for _, tp := range d.Partitions {
			i, ok := at[tp.Topic]
			if !ok {
				i = len(out.Topics)
				at[tp.Topic] = i
				out.Topics = append(out.Topics, kmsg.DescribeTransactionsResponseTransactionStateTopic{Topic: tp.Topic})
			}
			out.Topics[i].Partitions = append(out.Topics[i].Partitions, tp.Index)
		}
		resp.TransactionStates = append(resp.TransactionStates, out)
	}
	return wire.Reply(resp)
}
