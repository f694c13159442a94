package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// addPartitionsToTxn adds partitions to a transaction, or from v4 on to several, or only asks whether they are in it. One partition
// that does not exist leaves all of its transaction out.
func (h *Handler) addPartitionsToTxn(_ context.Context, _ *wire.Request, req *kmsg.AddPartitionsToTxnRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	transactions := req.Transactions
	if req.Version < 4 {
		transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{TransactionalID: req.TransactionalID, ProducerID: req.ProducerID,
			ProducerEpoch: req.ProducerEpoch}}
		for _, rt := range req.Topics {
			transactions[0].Topics = append(transactions[0].Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: rt.Topic, Partitions: rt.Partitions})
		}
	}
	waits := make([]txn.Answer, len(transactions))
	waiting := make([]bool, len(transactions))
	answers := make([]kmsg.AddPartitionsToTxnResponseTransaction, len(transactions))
	for i, rx := range transactions {
		answers[i] = kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: rx.TransactionalID}
		waits[i], waiting[i] = h.addToTxn(&rx, &answers[i])
	}
	return wire.Later(func(ctx context.Context) wire.Message {
		for i := range answers {
			if !waiting[i] {
				continue
			}
			reply, ok := waits[i].Wait(ctx)
			if !ok {
				return nil
			}
			setCodes(&answers[i], fencedCode(reply.Err, req.Version >= 2))
		}
		if req.Version >= 4 {
			resp.Transactions = answers
			return resp
		}
		for _, rt := range answers[0].Topics {
			out := kmsg.AddPartitionsToTxnResponseTopic{Topic: rt.Topic}
			for _, rp := range rt.Partitions {
				out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: rp.Partition, ErrorCode: rp.ErrorCode})
			}
			resp.Topics = append(resp.Topics, out)
		}
		return resp
	})
}

// addToTxn fills in the answer for one transaction; waiting says that its code is still to come.
func (h *Handler) addToTxn(rx *kmsg.AddPartitionsToTxnRequestTransaction, answer *kmsg.AddPartitionsToTxnResponseTransaction) (a txn.Answer, waiting bool) {
	var partitions []txn.Partition
	missing := false
	for _, rt := range rx.Topics {
		out := kmsg.AddPartitionsToTxnResponseTransactionTopic{Topic: rt.Topic}
		t, code := h.lookup(topicRef{name: rt.Topic})
		for _, index := range rt.Partitions {
			p, code := partitionOf(t, code, index)
			if code == none {
				partitions = append(partitions, txnPartition(t, p))
			}
			missing = missing || code != none
			out.Partitions = append(out.Partitions, kmsg.AddPartitionsToTxnResponseTransactionTopicPartition{Partition: index, ErrorCode: code})
		}
		answer.Topics = append(answer.Topics, out)
	}
	p := txn.Producer{ID: rx.ProducerID, Epoch: rx.ProducerEpoch}
	switch {
	case missing:
		eachCode(answer, func(code *int16) {
			if *code == none {
				*code = operationNotAttempted
			}
		})
		answer.Topics = onceEach(answer.Topics)
		return a, false
	case rx.VerifyOnly:
		i := 0
		eachCode(answer, func(code *int16) {
			*code = kerrCode(h.cfg.Transactions.Verify(rx.TransactionalID, p, partitions[i]))
			i++
		})
		answer.Topics = onceEach(answer.Topics)
		return a, false
	}
	return h.cfg.Transactions.Add(rx.TransactionalID, p, partitions), true
}

// onceEach is an answer that tells of each partition once, however often it was named; an answer to what was added tells of each entry.
func onceEach(answers []kmsg.AddPartitionsToTxnResponseTransactionTopic) []kmsg.AddPartitionsToTxnResponseTransactionTopic {
	return lastEntries(answers, func(t *kmsg.AddPartitionsToTxnResponseTransactionTopic) (topicRef, *[]kmsg.AddPartitionsToTxnResponseTransactionTopicPartition) {
		return topicRef{name: t.Topic}, &t.Partitions
	}, func(p *kmsg.AddPartitionsToTxnResponseTransactionTopicPartition) int32 { return p.Partition })
}

func setCodes(answer *kmsg.AddPartitionsToTxnResponseTransaction, code int16) {
	eachCode(answer, func(c *int16) { *c = code })
}

// eachCode visits the codes of an answer in the order of the partitions.
func eachCode(answer *kmsg.AddPartitionsToTxnResponseTransaction, visit func(*int16)) {
	for i := range answer.Topics {
		for j := range answer.Topics[i].Partitions {
			visit(&answer.Topics[i].Partitions[j].ErrorCode)
		}
	}
}
