package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/said"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// ErrOpenTransaction is returned where a state cannot be published because a transaction of the producer is open.
var ErrOpenTransaction = errors.New("a transaction of this producer is open: end it first")

var errNotKept = fmt.Errorf("%w: the producer keeps no state: set ProducerConfig.KeepState", ErrConfig)

// State yields what the producer has said: every row, partition by partition, in no particular order. Keys and values alone mean something, and must
// not be written to. It is of one moment, that at which it is ranged over first, and yields the same rows each time, so that it can be a source for
// PublishState; that lets nothing be said before it is done, so it is safe beside goroutines that produce. Error: ErrConfig without ProducerConfig.KeepState.
func (p *Producer) State() iter.Seq2[Row, error] {
	if p.kept == nil {
		return func(yield func(Row, error) bool) { yield(Row{}, errNotKept) }
	}
	moment := sync.OnceValue(func() iter.Seq2[int32, frame.Row] { return p.kept.said.Rows() })
	return func(yield func(Row, error) bool) {
		for no, row := range moment() {
			if !yield(Row{no, row}, nil) {
				return
			}
		}
	}
}

// publish is PublishState while nothing is said, and makes what was published what was said.
func (k *keptState) publish(ctx context.Context, p *Producer, source iter.Seq2[Row, error], opts PublishOptions) (Published, error) {
	if err := hold(ctx, k.asserting); err != nil {
		return Published{}, err
	}
	defer func() { <-k.asserting }()
	if err := hold(ctx, k.order); err != nil {
		return Published{}, err
	}
	defer func() { <-k.order }()
	m := k.said.Moment()
	if m.Open {
		return Published{}, fmt.Errorf("topic %s: %w", k.topic, ErrOpenTransaction)
	}
	if err := k.flush(ctx, m); err != nil {
		return Published{}, err
	}
	done, err := p.publishState(ctx, source, k, opts)
	if err != nil || opts.DryRun || done.Verdict != Equal {
		return done, err
	}
	if err := k.follow(ctx); err != nil {
		return done, fmt.Errorf("topic %s: the state is published, but the topic cannot be looked at: %w", k.topic, err)
	}
	var ours digest.Digest
	for _, d := range m.Digests {
		ours.Merge(d)
	}
	if ours == done.Source {
		if err := k.agree(ctx, m, ours); err != nil {
			return done, fmt.Errorf("topic %s: the state is published, but where the log has it could not be found out: %w", k.topic, err)
		}
		return done, nil
	}
	if err := k.begin(ctx, done.Source); err != nil {
		return done, fmt.Errorf("topic %s: the state is published, but what was said could not be made it: %w", k.topic, err)
	}
	return done, nil
}

// follow has franz-go go on where the topic was created anew: it fails all records for one that has another id than the topic that it knew, until it is
// told to forget that. Nothing is on its way.
func (k *keptState) follow(ctx context.Context) error {
	now, err := lookAt(ctx, k.plane)
	if err != nil {
		return err
	}
	for _, info := range now.partitions[:min(len(now.partitions), k.said.Partitions())] {
		if info.Incarnation != k.said.Standing(info.Partition).Incarnation {
			k.cl.PurgeTopicsFromClient(k.topic)
			break
		}
	}
	return nil
}

// agree has what was said lie below what was written, which may be all that the log differs by from what it was behind the last record that was said.
func (k *keptState) agree(ctx context.Context, m said.Moment, want digest.Digest) error {
	var cut plane.Cut
	if err := plane.NewPatience(keepRetry, time.Now).Call(ctx, func(ctx context.Context) (err error) {
		cut, err = k.plane.Cut(ctx)
		return err
	}); err != nil {
		return err
	}
	if cut.Digest() != want { // others have written
		return nil
	}
	for _, f := range cut.Frames {
		k.said.Agree(m, f.Partition, f.Incarnation, f.Cut)
	}
	return nil
}

// begin begins anew with what the log holds, which must have a digest.
func (k *keptState) begin(ctx context.Context, want digest.Digest) error {
	tables, starts, err := loadState(ctx, k.plane, k.kind)
	if err != nil {
		return err
	}
	var d digest.Digest
	for _, t := range tables {
		part, _ := t.Digest()
		d.Merge(part)
	}
	if d != want {
		return fmt.Errorf("somebody else has written: %s", differs(want, d))
	}
	return k.said.Begin(tables, starts)
}

// ForTopic is the partitioner of what is published: a key that was said is where it was said, others are where they would be.
func (k *keptState) ForTopic(topic string) kgo.TopicPartitioner {
	return &saidPartitioner{k.by.ForTopic(topic), k}
}

type saidPartitioner struct {
	kgo.TopicPartitioner
	kept *keptState
}

func (s *saidPartitioner) Partition(r *kgo.Record, n int) int {
	pick := s.TopicPartitioner.Partition(r, n)
	return s.kept.said.Home(r.Key, pick)
}
