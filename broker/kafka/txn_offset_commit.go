package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/broker/wire"
)

// txnOffsetCommit stores offsets of a group that are committed with the transaction. The group has to be in the transaction, or comes in
// from v5 on (KIP-890); a sender that names itself is fenced as with OffsetCommit (KIP-447).
func (h *Handler) txnOffsetCommit(_ context.Context, r *wire.Request, req *kmsg.TxnOffsetCommitRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	var offsets []group.PartitionOffset
	var codes []*int16 // where the outcome of offsets[i] goes
	for _, rt := range req.Topics {
		resp.Topics = append(resp.Topics, kmsg.TxnOffsetCommitResponseTopic{
			Topic: rt.Topic, Partitions: make([]kmsg.TxnOffsetCommitResponseTopicPartition, len(rt.Partitions))})
		out := resp.Topics[len(resp.Topics)-1].Partitions
		t, code := h.lookup(topicRef{name: rt.Topic})
		for i, rp := range rt.Partitions {
			out[i].Partition = rp.Partition
			if _, out[i].ErrorCode = partitionOf(t, code, rp.Partition); out[i].ErrorCode != none {
				continue
			}
			offsets = append(offsets, group.PartitionOffset{Topic: t.Name, Partition: rp.Partition, Offset: group.Offset{
				Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: orEmpty(rp.Metadata)}})
			codes = append(codes, &out[i].ErrorCode)
		}
	}
	if len(offsets) == 0 {
		return wire.Reply(resp)
	}
	p := txn.Producer{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	done, err := h.cfg.Transactions.BeginGroup(req.TransactionalID, p, req.Group, req.Version >= 5)
	if err != nil {
		for _, code := range codes {
			*code = txnCommitCode(err, req.Version)
		}
		return wire.Reply(resp)
	}
	ch := make(chan []*kerr.Error, 1)
	ref := group.MemberRef{MemberID: req.MemberID, InstanceID: orEmpty(req.InstanceID), Generation: req.Generation}
	h.cfg.Groups.CommitInTxn(req.Group, ref, req.ProducerID, offsets, func(errs []*kerr.Error) {
		done()
		ch <- errs
	})
	return answerWith(r, ch, nil, func(errs []*kerr.Error) wire.Message {
		for i, err := range errs {
			*codes[i] = kerrCode(err)
		}
		return resp
	})
}

// txnCommitCode is the code of the transaction coordinator's error in an answer to TxnOffsetCommit.
func txnCommitCode(err *kerr.Error, version int16) int16 {
	switch {
	case err == kerr.ProducerFenced:
		err = kerr.InvalidProducerEpoch
	case err == kerr.TransactionAbortable && version < 4:
		err = kerr.InvalidTxnState
	case err == kerr.ConcurrentTransactions && version < 2:
		err = kerr.CoordinatorNotAvailable
	case err == kerr.ConcurrentTransactions:
		err = kerr.CoordinatorLoadInProgress // every client asks again
	}
	return kerrCode(err)
}
