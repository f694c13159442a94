package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// ErrEmptySource is wrapped where a source without rows would delete all that a topic has.
var ErrEmptySource = errors.New("the source is empty, and everything would be deleted")

const (
	// publishedWait bounds how long a key frame is waited for that has what was written.
	publishedWait = time.Minute
	// abortTime bounds the end of a transaction that is aborted.
	abortTime = 30 * time.Second
	// deltaTime is what a delta takes at worst, of many; transactionTimeMax is what brokers admit by default (transaction.max.timeout.ms).
	deltaTime          = 500 * time.Microsecond
	transactionTimeMax = 15 * time.Minute
)

// PublishOptions say how PublishState works.
type PublishOptions struct {
	// DryRun writes nothing.
	DryRun bool
	// At is a cut that was made before the source was taken; see CompareConfig.
	At *state.At
	// AllowEmpty: a source without rows deletes everything. Else that is ErrEmptySource.
	AllowEmpty bool
	// TransactionalID, where set, writes everything in one transaction of this id: all or nothing, and readers of committed records see all of it at once.
	// A producer whose Options have a kgo.TransactionalID writes in a transaction anyway; the id is that one with ".state" behind it, unless it is set here.
	TransactionalID string
	// OnDifference and OnMoved: see CompareConfig. They are called before anything is written.
	OnDifference func(Difference)
	OnMoved      func(Difference)
	// Logger is told of what is waited for. Default: nobody is.
	Logger *slog.Logger
}

// Published is what PublishState found, and what it did.
type Published struct {
	Comparison       // before anything was written
	Written    int64 // deltas
	// WrittenBytes are the keys and values of the deltas.
	WrittenBytes int64
	// Verdict compares once more, at a cut after the deltas: Equal; Drifted if the topic's state is another one, as where others write or keys had moved;
	// Inconclusive if that could not be found out. With DryRun, and where nothing was to be written, it is the Comparison's Outcome.
	Verdict Outcome
	Reason  string // why the verdict is not Equal
}

// PublishState makes a topic's state that of a source: it compares as Compare does, and writes only what differs, a put for each key that the topic
// lacks or has with another value, a delete for each that vanished. To do it again writes nothing. For what a live producer of the same keys does
// meanwhile see package client/reconcile; what this producer itself was given is flushed first. It needs ProducerConfig.StateURL.
//
// Deltas are written with acks=all, whatever the producer's Options say, by a client of their own. Errors: those of Compare, ErrEmptySource,
// ErrNoStatePlane; reconcile.ErrOpenTransaction where a transaction of others stays open for two minutes; ctx's and franz-go's where writing fails: without a transaction some deltas may have been written, and to do it again writes the rest.
//
// With KeepState, what is handed to Produce meanwhile waits, and what the producer has said is the source afterwards, if the Verdict is Equal: so is then what
// Assert says. ErrOpenTransaction where it has begun a transaction and said something in it.
func (p *Producer) PublishState(ctx context.Context, source iter.Seq2[Row, error], opts PublishOptions) (Published, error) {
	if p.plane == nil {
		return Published{}, ErrNoStatePlane
	}
	if err := p.Flush(ctx); err != nil {
		return Published{}, err
	}
	if p.kept != nil {
		return p.kept.publish(ctx, p, source, opts)
	}
	partitioner, _ := p.cl.OptValue(kgo.RecordPartitioner).(kgo.Partitioner)
	return p.publishState(ctx, source, partitioner, opts)
}

func (p *Producer) publishState(ctx context.Context, source iter.Seq2[Row, error], partitioner kgo.Partitioner, opts PublishOptions) (Published, error) {
	cfg := CompareConfig{
		Topic: p.topic, At: opts.At, Partitioner: partitioner, OnDifference: opts.OnDifference, OnMoved: opts.OnMoved,
		Logger: opts.Logger,
	}
	c, writes, err := compare(ctx, p.plane, cfg, source, !opts.DryRun)
	done := Published{Comparison: c, Verdict: c.Outcome}
	if err != nil {
		return Published{}, err
	}
	if c.Source.Count == 0 && len(writes) > 0 && !opts.AllowEmpty {
		return done, fmt.Errorf("topic %s: %w: it has %d rows", p.topic, ErrEmptySource, c.Log.Count)
	}
	if opts.DryRun || len(writes) == 0 {
		done.Reason = moved(c)
		return done, nil
	}
	ends, err := p.writeAll(ctx, p.transactionalID(opts), writes)
	if err != nil {
		return done, fmt.Errorf("topic %s: %w", p.topic, err)
	}
	done.Written = int64(len(writes))
	for _, w := range writes {
		done.WrittenBytes += int64(len(w.Key) + len(w.Value))
	}
	done.Verdict, done.Reason = p.verifyPublished(ctx, c, ends)
	return done, nil
}

func moved(c Comparison) string {
	if c.Moved == 0 {
		return ""
	}
	return fmt.Sprintf("%d keys were written by others since the cut, and left alone", c.Moved)
}

// transactionalID is empty where there is no transaction.
func (p *Producer) transactionalID(opts PublishOptions) string {
	if opts.TransactionalID != "" {
		return opts.TransactionalID
	}
	if own, _ := p.cl.OptValue(kgo.TransactionalID).(string); own != "" {
		return own + ".state"
	}
	return ""
}

// writeAll writes deltas to the partitions that they name, and returns the offset behind the last one in each.
func (p *Producer) writeAll(ctx context.Context, transactionalID string, writes []reconcile.Write) (ends map[int32]int64, err error) {
	opts := append(p.cl.Opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if transactionalID != "" {
		opts = append(opts, kgo.TransactionalID(transactionalID), kgo.TransactionTimeout(transactionTime(p.cl, len(writes))))
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	defer cl.Close()
	if transactionalID == "" {
		return p.produceAll(ctx, cl, writes)
	}
	if err := cl.BeginTransaction(); err != nil {
		return nil, err
	}
	became := "the transaction was aborted"
	ends, err = p.produceAll(ctx, cl, writes)
	if err == nil {
		if err = cl.EndTransaction(ctx, kgo.TryCommit); err == nil {
			return ends, nil
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
	return nil, fmt.Errorf("%s: %w", became, err)
}

// transactionTime is how long a transaction of so many deltas may stay open: the producer's own timeout, and more where there are a great many.
func transactionTime(cl *kgo.Client, writes int) time.Duration {
	own, _ := cl.OptValue(kgo.TransactionTimeout).(time.Duration)
	return max(own, min(time.Duration(writes)*deltaTime, transactionTimeMax))
}

// produceAll waits until all are acknowledged, or one has failed. The fold has admitted them when the source was read.
func (p *Producer) produceAll(ctx context.Context, cl *kgo.Client, writes []reconcile.Write) (map[int32]int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	ends := map[int32]int64{}
	for _, w := range writes {
		r := p.Delete(w.Key)
		if w.Value != nil {
			r = p.Put(w.Key, w.Value)
		}
		r.Partition = w.Partition
		cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			if err != nil {
				cancel(err) // those that wait are of no use any more; the first reason stays
				return
			}
			mu.Lock()
			defer mu.Unlock()
			ends[r.Partition] = max(ends[r.Partition], r.Offset+1)
		})
		if ctx.Err() != nil {
			break
		}
	}
	err := cl.Flush(ctx)
	return ends, cmp.Or(context.Cause(ctx), err)
}

// verifyPublished compares digests at a cut that has all that was written.
func (p *Producer) verifyPublished(ctx context.Context, before Comparison, ends map[int32]int64) (Outcome, string) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, publishedWait)
	defer cancel()
	patience := plane.NewPatience(100*time.Millisecond, time.Now)
	for try := 0; ; try++ {
		var cut plane.Cut
		err := patience.Call(ctx, func(ctx context.Context) (err error) {
			cut, err = p.plane.Cut(ctx)
			return err
		})
		if err != nil {
			return Inconclusive, fmt.Sprintf("what was written could not be compared: %v", err)
		}
		var d digest.Digest
		behind := len(ends)
		for _, f := range cut.Frames {
			d.Merge(f.Digest)
			if end, written := ends[f.Partition]; written && f.Cut >= end {
				behind--
			}
		}
		switch {
		case d == before.Source:
			return Equal, ""
		case behind == 0 && before.Moved > 0:
			return Drifted, moved(before)
		case behind == 0:
			return Drifted, "others have written meanwhile: " + differs(before.Source, d)
		}
		if err := plane.Wait(ctx, 50*time.Millisecond<<min(try, 5)); err != nil {
			if caller.Err() != nil {
				return Inconclusive, fmt.Sprintf("what was written was not compared: %v", caller.Err())
			}
			return Inconclusive, "an open transaction keeps what was written from being read"
		}
	}
}
