package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/log"
)

const (
	acksNone = 0
	acksAll  = -1
)

// appended is a partition's answer in work: the append was accepted and waits for its sync.
type appended struct {
	answer *kmsg.ProduceResponseTopicPartition
	append *log.Appended
	topic  *topics.Topic
	config *topics.Config // that it was appended under
	copied bool           // what was appended is no part of the request
}

// produce appends one batch to each partition of the request. Appending happens here, in request order; the answer waits for
// the syncs in the connection's writer. acks=1 and acks=all both wait: there is one replica, and less than its disk is no
// acknowledgement. Partitions fail independently. Of a partition that is named twice the last batch counts, and the answer is of that one;
// Kafka gives the error of an earlier one that was no batch, and has appended the last.
func (h *Handler) produce(ctx context.Context, r *wire.Request, req *kmsg.ProduceRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ProduceResponse)
	req.Topics = lastEntries(req.Topics, func(t *kmsg.ProduceRequestTopic) (topicRef, *[]kmsg.ProduceRequestTopicPartition) {
		return topicRef{name: t.Topic, id: t.TopicID, byID: req.Version >= 13}, &t.Partitions
	}, func(p *kmsg.ProduceRequestTopicPartition) int32 { return p.Partition })
	var waiting []appended
	var failed error // the first, for acks=0
	var last *log.Partition
	kept := 0 // bytes of the request that are in the log's tail now
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	h.joinTransaction(req)
	for i, rt := range req.Topics {
		out := &resp.Topics[i]
		out.Topic, out.TopicID = rt.Topic, rt.TopicID
		t, code := h.lookup(topicRef{name: rt.Topic, id: rt.TopicID, byID: req.Version >= 13})
		out.Partitions = make([]kmsg.ProduceResponseTopicPartition, len(rt.Partitions))
		for j, rp := range rt.Partitions {
			answer := &out.Partitions[j]
			*answer = kmsg.ProduceResponseTopicPartition{
				Partition: rp.Partition, BaseOffset: -1, LogAppendTime: -1, LogStartOffset: -1,
				CurrentLeader: kmsg.NewProduceResponseTopicPartitionCurrentLeader(),
			}
			w, err := h.producePartition(t, code, req, &rp)
			if err != nil {
				h.refuseBatch(answer, t, err)
				failed = errors.Join(failed, err)
				continue
			}
			w.answer = answer
			waiting = append(waiting, w)
			if !w.append.Duplicate && !w.copied {
				last, kept = t.Partition(rp.Partition).Log, kept+len(rp.Records)
			}
		}
	}
	if rest := len(r.Body) - kept; last != nil && rest > kept {
		// Each batch in the tail keeps the whole request in memory, with what was refused of it.
		last.ChargeTail(rest)
	}
	if req.Acks == acksNone {
		if failed != nil {
			// Nobody reads an answer; a closed connection makes the client look again, as Kafka does.
			return wire.Response{Close: "produce with acks=0 failed: " + failed.Error()}
		}
		return wire.Response{None: true}
	}
	if len(waiting) == 0 {
		return wire.Reply(resp)
	}
	return wire.Later(func(ctx context.Context) wire.Message {
		for _, w := range waiting {
			if err := w.append.Wait(ctx); err != nil {
				if ctx.Err() == nil {
					h.cfg.Logger.Error("a produced batch did not become durable", "topic", w.topic.Name, "partition", w.answer.Partition, "error", err)
				}
				h.refuseBatch(w.answer, w.topic, err)
				continue
			}
			w.answer.BaseOffset, w.answer.LogStartOffset = w.append.BaseOffset, w.append.LogStart
			if w.config.LogAppendTime {
				w.answer.LogAppendTime = w.append.AppendTimeMs
			}
		}
		return resp
	})
}

// producePartition checks one partition's batch and appends it.
func (h *Handler) producePartition(t *topics.Topic, code int16, req *kmsg.ProduceRequest, rp *kmsg.ProduceRequestTopicPartition) (a appended, err error) {
	if req.Acks < acksAll || req.Acks > 1 {
		return a, &refusal{invalidRequiredAcks, fmt.Sprintf("acks=%d: only -1, 0 and 1 exist", req.Acks)}
	}
	p, code := partitionOf(t, code, rp.Partition)
	if code != none {
		return a, &refusal{code, "This server does not host this topic-partition."}
	}
	b, err := oneBatch(rp.Records)
	if err != nil {
		return a, err
	}
	cfg := t.Config()
	if b.IsTransactional() && req.TransactionID == nil {
		return a, &refusal{transactionalIDAuthorization, "transactional records without a transactional id"}
	}
	if b.Codec() == batch.Zstd && req.Version < 7 {
		return a, &refusal{unsupportedCompressionType, "Produce requests below version 7 cannot carry zstd"}
	}
	if err := checkBatchSize(cfg, t, p, b); err != nil {
		return a, err
	}
	if req.Acks == acksAll && cfg.MinInsyncReplicas > 1 {
		return a, &refusal{notEnoughReplicas, fmt.Sprintf("min.insync.replicas is %d and there is one replica", cfg.MinInsyncReplicas)}
	}
	a = appended{topic: t, config: cfg}
	came := b
	if b, err = h.checkBatch(cfg, b); err != nil {
		return a, err
	}
	if a.copied = &came[0] != &b[0]; a.copied {
		if err := checkBatchSize(cfg, t, p, b); err != nil {
			return a, err
		}
	}
	if b.IsTransactional() {
		done, err := h.beginAppend(t, p, req, b)
		if err != nil {
			return a, err
		}
		defer done()
	}
	a.append, err = p.Log.AppendOn(log.Terms{StampTime: cfg.LogAppendTime, FromZero: b.IsTransactional() && req.Version >= 12}, b)
	if err != nil {
		return a, fmt.Errorf("append to %s-%d: %w", t.Name, p.Index, err)
	}
	return a, nil
}

func checkBatchSize(cfg *topics.Config, t *topics.Topic, p *topics.Partition, b batch.Batch) error {
	if len(b) <= cfg.MaxMessageBytes {
		return nil
	}
	return &refusal{messageTooLarge, fmt.Sprintf("The record batch size in the append to %s-%d is %d bytes which exceeds the maximum configured value of %d.",
		t.Name, p.Index, len(b), cfg.MaxMessageBytes)}
}

// oneBatch frames the only batch of a partition's records.
func oneBatch(records []byte) (batch.Batch, error) {
	if len(records) == 0 {
		return nil, &refusal{invalidRecord, "Produce requests must have exactly one record batch per partition, this one has none"}
	}
	b, rest, err := batch.Split(records)
	if err != nil {
		return nil, &refusal{splitCode(err), err.Error()}
	}
	if len(rest) > 0 {
		return nil, &refusal{invalidRecord, "Produce requests must have exactly one record batch per partition"}
	}
	return b, nil
}

func splitCode(err error) int16 {
	if errors.Is(err, batch.ErrMagic) {
		return invalidRecord // magic 0 and 1: KIP-724
	}
	return corruptMessage
}

// refuseBatch writes an error into a partition's answer.
func (h *Handler) refuseBatch(answer *kmsg.ProduceResponseTopicPartition, t *topics.Topic, err error) {
	var refused *refusal
	var records *recordsError
	switch {
	case errors.As(err, &records):
		answer.ErrorCode, answer.ErrorMessage = records.code, ptr(records.Error())
		answer.ErrorRecords = records.culprits
	case errors.As(err, &refused):
		answer.ErrorCode, answer.ErrorMessage = refused.code, ptr(refused.text)
	default:
		answer.ErrorCode, answer.ErrorMessage = codeOf(err), ptr(err.Error())
	}
	switch {
	case errors.Is(err, engine.ErrDiskFull):
		h.metrics.diskFull.Inc()
	case answer.ErrorCode == unknownServerError:
		h.cfg.Logger.Error("produce failed", "topic", t.Name, "partition", answer.Partition, "error", err)
	}
}
