package client

import (
	"context"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/client/reconcile"
)

// openTransaction is a transaction of others that holds a partition.
type openTransaction struct {
	partition int32
	id        string    // empty where no coordinator knows it
	since     time.Time // zero likewise
}

// openTransactions are those that the topic's partitions have, by partition.
func (p *Producer) openTransactions(ctx context.Context) (open []openTransaction, err error) {
	adm := kadm.NewClient(p.cl)
	producers, err := adm.DescribeProducers(ctx, kadm.TopicsSet{p.topic: {}})
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, x := range producers.SortedProducers() {
		if x.CurrentTxnStartOffset >= 0 {
			ids = append(ids, x.ProducerID)
			open = append(open, openTransaction{partition: x.Partition})
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	listed, err := adm.ListTransactions(ctx, ids, nil)
	if err != nil || len(listed) == 0 {
		return open, err
	}
	known, err := adm.DescribeTransactions(ctx, listed.TransactionalIDs()...)
	for _, x := range known {
		for i, id := range ids {
			if x.Err == nil && x.ProducerID == id && x.StartTimestamp > 0 {
				open[i].id, open[i].since = x.TxnID, time.UnixMilli(x.StartTimestamp)
			}
		}
	}
	return open, err
}

// warnTime bounds how long it is asked which transaction is open.
const warnTime = 5 * time.Second

// warnOpen says what is waited for.
func (p *Producer) warnOpen(ctx context.Context, to *slog.Logger) {
	const text = "a transaction is open: its end is waited for, since what is in it may be newer than the source"
	attrs := []any{"at_most", reconcile.OpenWait}
	ctx, cancel := context.WithTimeout(ctx, warnTime)
	defer cancel()
	open, _ := p.openTransactions(ctx) // what is known of it is told
	for _, x := range open[:min(1, len(open))] {
		attrs = append(attrs, "partition", x.partition)
		if !x.since.IsZero() {
			attrs = append(attrs, "since", x.since, "transactional_id", x.id)
		}
	}
	to.Warn(text, attrs...)
}
