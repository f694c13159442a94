package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/batchsize"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/delta"
)

const (
	// abortTime bounds the end of a transaction that is aborted.
	abortTime = 30 * time.Second
	// deltaTime is what a delta takes at worst, of many; transactionTimeMax is what brokers admit by default (transaction.max.timeout.ms).
	deltaTime          = 500 * time.Microsecond
	transactionTimeMax = 15 * time.Minute
)

// writing writes deltas to the partitions that they name.
type writing struct {
	p      *Producer
	writes []reconcile.Write
	on     func(written, all int64) // nil: nobody is told

	mu sync.Mutex
	// Guarded by mu until over, and then settled: what is acknowledged later does not count.
	over           bool
	ends           map[int32]int64 // behind the last one of each partition
	written, bytes int64           // acknowledged; keys and values of these
}

// all writes all of them, in a transaction if that has an id. Where a row is too large, nothing is written.
func (w *writing) all(ctx context.Context, transactionalID string) error {
	sizes, err := w.sizes(ctx)
	if err != nil {
		return err
	}
	opts := append(w.p.cl.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(sizes.client))
	if transactionalID != "" {
		opts = append(opts, kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(transactionTime(w.p.cl, len(w.writes))))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer cl.Close()
	if transactionalID == "" {
		return w.produce(ctx, cl, sizes)
	}
	if err := w.transact(ctx, cl, sizes); err != nil {
		w.written, w.bytes = 0, 0
		return err
	}
	return nil
}

func (w *writing) transact(ctx context.Context, cl *kgo.Client, sizes batchSizes) error {
	if err := cl.BeginTransaction(); err != nil {
		return err
	}
	became := "the transaction was aborted"
	err := w.produce(ctx, cl, sizes)
	if err == nil {
		if err = cl.EndTransaction(ctx, kgo.TryCommit); err == nil {
			return nil
		}
		if !errors.Is(err, kerr.OperationNotAttempted) && !errors.Is(err, kerr.TransactionAbortable) {
			became = "it is not known whether the transaction was committed"
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	if failed := errors.Join(cl.AbortBufferedRecords(ctx), cl.EndTransaction(ctx, kgo.TryAbort)); failed != nil {
		became, err = "the transaction could not be ended", errors.Join(err, failed)
	}
	return fmt.Errorf("%s: %w", became, err)
}

// transactionTime is how long a transaction of so many deltas may stay open: the producer's own timeout, and more where there are a great many.
func transactionTime(cl *kgo.Client, writes int) time.Duration {
	own, _ := cl.OptValue(kgo.TransactionTimeout).(time.Duration)
	return max(own, min(time.Duration(writes)*deltaTime, transactionTimeMax))
}

// written is the record that is written for what differs.
func (p *Producer) written(w reconcile.Write) *kgo.Record {
	op := delta.Delete
	if w.Value != nil {
		op = delta.Put
	}
	r := p.record(op, w.Key, w.Value)
	r.Partition = w.Partition
	return r
}

// produce waits until all are acknowledged, or one has failed. The fold has admitted them when the source was read. Where batches might become too large, as
// many rows are under way in a partition as one may have.
func (w *writing) produce(ctx context.Context, cl *kgo.Client, sizes batchSizes) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.ends = map[int32]int64{}
	if w.on != nil {
		w.on(0, int64(len(w.writes)))
	}
	underWay := map[int32]int{}
	for _, x := range w.writes {
		record := w.p.written(x)
		if sizes.apart() {
			size := batchsize.AtMost(record)
			if before := underWay[x.Partition]; before > 0 && before+size > sizes.topic {
				if cl.Flush(ctx) != nil {
					break
				}
				clear(underWay)
			}
			underWay[x.Partition] += size
		}
		cl.Produce(ctx, record, func(r *kgo.Record, err error) {
			if err != nil {
				cancel(fmt.Errorf("key %.40q: %w", r.Key, err)) // those that wait are of no use any more; the first reason stays
				return
			}
			w.acknowledged(r)
		})
		if ctx.Err() != nil {
			break
		}
	}
	err := cl.Flush(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	return cmp.Or(context.Cause(ctx), err)
}

func (w *writing) acknowledged(r *kgo.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.ends[r.Partition] = max(w.ends[r.Partition], r.Offset+1)
	w.written++
	w.bytes += int64(len(r.Key) + len(r.Value))
	if w.on != nil {
		w.on(w.written, int64(len(w.writes)))
	}
}
