package client

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/batch"
)

// readCommitted is the isolation level of a fetch that goes no further than the last stable offset.
const readCommitted = 1

// inTransaction fetches the batch at an offset as it stands. Readers of committed records are given those of aborted transactions too, and are to
// leave them out.
func (k *kafkaTail) inTransaction(ctx context.Context, partition int32, offset int64) (bool, error) {
	topics, err := kadm.NewClient(k.cl).ListTopics(ctx, k.topic)
	if err != nil {
		return false, err
	}
	detail := topics[k.topic]
	if detail.Err != nil {
		return false, detail.Err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.IsolationLevel, req.SessionEpoch = 1, readCommitted, -1 // one batch comes whole, however large
	t := kmsg.NewFetchRequestTopic()
	t.Topic, t.TopicID = k.topic, detail.ID
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1, -1
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, k.cl.Broker(int(detail.Partitions[partition].Leader)))
	if err != nil {
		return false, err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return false, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return false, err
			}
			if len(p.RecordBatches) > 0 {
				return transactionalAt(p.RecordBatches, offset)
			}
		}
	}
	return false, nil
}

// transactionalAt tells whether the first batch of a fetch has the offset, and is of a transaction.
func transactionalAt(fetched []byte, offset int64) (bool, error) {
	b, _, err := batch.Split(fetched)
	if err != nil {
		return false, fmt.Errorf("the batch at %d: %w", offset, err)
	}
	return b.IsTransactional() && b.BaseOffset() <= offset && offset <= b.LastOffset(), nil
}
