package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/batch"
)

// transactionHandlers are the transaction APIs, and the one that shows producers: API key to handler, merged into the dispatch table
// by New. Each API has a file of its own (end_txn.go, ...).
func transactionHandlers() map[int16]handlerFunc {
	return map[int16]handlerFunc{
		keyAddPartitionsToTxn: handle((*Handler).addPartitionsToTxn),
		25:                    handle((*Handler).addOffsetsToTxn),
		26:                    handle((*Handler).endTxn),
		27:                    handle((*Handler).writeTxnMarkers),
		28:                    handle((*Handler).txnOffsetCommit),
		65:                    handle((*Handler).describeTransactions),
		66:                    handle((*Handler).listTransactions),
	}
}

// answerTxn answers with the outcome of a step of the transaction coordinator, when it may be told.
func answerTxn(a txn.Answer, answer func(txn.Reply) wire.Message) wire.Response {
	return wire.Later(func(ctx context.Context) wire.Message {
		reply, ok := a.Wait(ctx)
		if !ok {
			return nil
		}
		return answer(reply)
	})
}

// fencedCode is the code of a coordinator's error for a client that knows PRODUCER_FENCED, or not yet (KIP-588).
func fencedCode(err *kerr.Error, known bool) int16 {
	if err == kerr.ProducerFenced && !known {
		err = kerr.InvalidProducerEpoch
	}
	return kerrCode(err)
}

// txnPartition names a partition to the transaction coordinator.
func txnPartition(t *topics.Topic, p *topics.Partition) txn.Partition {
	return txn.Partition{Topic: t.Name, Index: p.Index, Ordinal: p.Ordinal}
}

// joinTransaction brings all partitions of a request into its transaction at once, as Kafka does before it appends to any (KIP-890): that
// is one write in place of one a partition. Why a partition could not come in its own append says.
func (h *Handler) joinTransaction(req *kmsg.ProduceRequest) {
	if req.TransactionID == nil || req.Version < 12 || h.cfg.Transactions == nil || req.Acks < acksAll || req.Acks > 1 {
		return
	}
	producer := txn.NoProducer()
	var partitions []txn.Partition
	for _, rt := range req.Topics {
		t, code := h.lookup(topicRef{name: rt.Topic, id: rt.TopicID, byID: req.Version >= 13})
		for _, rp := range rt.Partitions {
			p, code := partitionOf(t, code, rp.Partition)
			b, err := oneBatch(rp.Records)
			if code != none || err != nil || !b.IsTransactional() || b.ProducerID() < 0 {
				continue
			}
			if len(partitions) == 0 {
				producer = txn.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
			}
			if producer.ID == b.ProducerID() && producer.Epoch == b.ProducerEpoch() {
				partitions = append(partitions, txnPartition(t, p))
			}
		}
	}
	if len(partitions) > 1 {
		h.cfg.Transactions.Add(*req.TransactionID, producer, partitions)
	}
}

// beginAppend is the begin of an append in a transaction, which does not end before done. Up to Produce v11 the partition has to be in
// the transaction already, from v12 on it comes in with the append (KIP-890).
func (h *Handler) beginAppend(t *topics.Topic, p *topics.Partition, req *kmsg.ProduceRequest, b batch.Batch) (done func(), err error) {
	if b.ProducerID() < 0 {
		return nil, &refusal{invalidRecord, "a transactional batch without a producer id"}
	}
	if h.cfg.Transactions == nil && req.Version == 11 {
		return nil, &refusal{transactionAbortable, "there is no transaction coordinator"}
	} else if h.cfg.Transactions == nil {
		return nil, &refusal{invalidTxnState, "there is no transaction coordinator"}
	}
	producer := txn.Producer{ID: b.ProducerID(), Epoch: b.ProducerEpoch()}
	done, refused := h.cfg.Transactions.Begin(*req.TransactionID, producer, txnPartition(t, p), req.Version >= 12)
	switch refused {
	case nil:
		return done, nil
	case kerr.ProducerFenced: // Kafka's partitions know of epochs only, and not of who fences whom
		refused = kerr.InvalidProducerEpoch
	case kerr.TransactionAbortable:
		if req.Version < 11 {
			return nil, &refusal{invalidTxnState, "Partition was not added to the transaction"}
		}
	case kerr.ConcurrentTransactions, kerr.CoordinatorNotAvailable: // every client tries again
		return nil, &refusal{notEnoughReplicas, "Unable to verify the partition has been added to the transaction. Underlying error: " + refused.Message}
	}
	return nil, &refusal{refused.Code, refused.Description}
}
