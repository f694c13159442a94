package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// ErrEmptySource is wrapped where a source without rows would delete all that a topic has.
var ErrEmptySource = errors.New("the source is empty, and everything would be deleted")

// publishedWait bounds how long a key frame is waited for that has what was written.
const publishedWait = time.Minute

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
	// OnCompared and OnDifference: see CompareConfig. They are called before anything is written, and not with ErrEmptySource.
	OnCompared   func(Comparison)
	OnDifference func(Difference)
	// OnMoved: see CompareConfig. It is called before anything is written for keys that moved since the cut, and afterwards for those, by key, that others
	// wrote meanwhile.
	OnMoved func(Difference)
	// OnWritten, where set, is told how many deltas of all are acknowledged: none as they begin to be written, then after each. One call at a time.
	OnWritten func(written, all int64)
	// Logger is told of what is waited for. Default: nobody is.
	Logger *slog.Logger
}

// Published is what PublishState found, and what it did.
type Published struct {
	Comparison // before anything was written; Moved counts those that others wrote meanwhile as well
	// Written are the deltas that were acknowledged; where writing them fails as well, unless in a transaction: what became of that the error says.
	Written int64
	// WrittenBytes are their keys and values.
	WrittenBytes int64
	// Verdict compares once more, at a cut that has the deltas: Equal; Drifted if the topic's state is another one, as where others write or keys had moved;
	// Inconclusive if that could not be found out. Where nothing was written it is the Comparison's Outcome. Reason says why it is not Equal.
	Verdict Outcome
}

// PublishState makes a topic's state that of a source: it compares as Compare does, and writes only what differs, a put for each key that the topic
// lacks or has with another value, a delete for each that vanished. To do it again writes nothing. For what a live producer of the same keys does
// meanwhile see package client/reconcile; what this producer itself was given is flushed first. It needs ProducerConfig.StateURL.
//
// Deltas are written with acks=all, whatever the producer's Options say, by a client of their own, in batches as large as the topic admits. Errors: those of
// Compare, ErrEmptySource, ErrNoStatePlane; *RowTooLargeError; reconcile.ErrOpenTransaction where a transaction of others stays open for two minutes; ctx's and
// franz-go's where writing fails: without a transaction some deltas may have been written, and to do it again writes the rest. What was found by then comes
// with the error, its Topic empty if nothing was.
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
		Topic: p.topic, At: opts.At, Partitioner: partitioner, OnCompared: opts.OnCompared, OnDifference: opts.OnDifference, OnMoved: opts.OnMoved,
		Logger: opts.Logger,
	}
	asked := cfg.reconcile(p.plane)
	if asked.Settled = !opts.DryRun; opts.Logger != nil {
		asked.OnOpen = func(ctx context.Context) { p.warnOpen(ctx, opts.Logger) }
	}
	r, failed := reconcile.Compare(ctx, asked, keysAndValues(source))
	if r.Method == "" { // nothing was compared
		return Published{}, fmt.Errorf("topic %s: %w", p.topic, failed)
	}
	c := compared(p.topic, r)
	done := Published{Comparison: c, Verdict: c.Outcome}
	if c.Source.Count == 0 && len(r.Writes) > 0 && !opts.AllowEmpty {
		return done, fmt.Errorf("topic %s: %w: it has %s", p.topic, ErrEmptySource, counted(c.Log.Count, "row"))
	}
	cfg.tell(c, r)
	if failed != nil {
		return done, fmt.Errorf("topic %s: %w", p.topic, failed)
	}
	if opts.DryRun || len(r.Writes) == 0 {
		return done, nil
	}
	w := writing{p: p, writes: r.Writes, on: opts.OnWritten}
	err := w.all(ctx, p.transactionalID(opts))
	done.Written, done.WrittenBytes = w.written, w.bytes
	if err != nil {
		return done, fmt.Errorf("topic %s: %w", p.topic, err)
	}
	p.verifyPublished(ctx, &done, &r, &opts, w.ends)
	return done, nil
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

// verifyPublished compares digests at a cut that has all that was written, and tells which keys others wrote meanwhile.
func (p *Producer) verifyPublished(ctx context.Context, done *Published, r *reconcile.Result, opts *PublishOptions, ends map[int32]int64) {
	cut, why := p.cutBehind(ctx, ends, done.Source)
	done.Verdict, done.Reason = Inconclusive, why
	if why != "" {
		return
	}
	d := cut.Digest()
	if d == done.Source {
		done.Verdict = Equal
		return
	}
	done.Verdict = Drifted
	overtaken, err := r.Overtaken(ctx, cut)
	if err != nil && opts.Logger != nil {
		opts.Logger.Warn("which keys others wrote meanwhile could not be found out", "err", err)
	}
	cuts := map[int32]int64{}
	for _, f := range cut.Frames {
		cuts[f.Partition] = f.Cut
	}
	for _, w := range overtaken {
		if opts.OnMoved != nil {
			opts.OnMoved(asDifference(w, cuts[w.Partition]))
		}
	}
	done.Moved += int64(len(overtaken))
	done.Reason = othersWrote(done.Moved, done.Source, d)
}

// cutBehind cuts where all that was written is below, or where the topic's digest is that one; or says why it could not.
func (p *Producer) cutBehind(ctx context.Context, ends map[int32]int64, want digest.Digest) (cut plane.Cut, why string) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, publishedWait)
	defer cancel()
	patience := plane.NewPatience(100*time.Millisecond, time.Now)
	for try := 0; ; try++ {
		err := patience.Call(ctx, func(ctx context.Context) (err error) {
			cut, err = p.plane.Cut(ctx)
			return err
		})
		if err != nil {
			return cut, fmt.Sprintf("the topic could not be compared once more: %v", err)
		}
		behind := len(ends)
		for _, f := range cut.Frames {
			if end, written := ends[f.Partition]; written && f.Cut >= end {
				behind--
			}
		}
		if behind == 0 || cut.Digest() == want {
			return cut, ""
		}
		if err := plane.Wait(ctx, 50*time.Millisecond<<min(try, 5)); err != nil {
			if caller.Err() != nil {
				return cut, fmt.Sprintf("what was written was not compared: %v", context.Cause(caller))
			}
			return cut, "an open transaction keeps what was written from being read"
		}
	}
}
