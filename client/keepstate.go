package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/client/said"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/memory"
)

// keptState is what a producer with KeepState has said, and how it came to be in which partition.
type keptState struct {
	said   *said.State
	plane  *plane.Plane
	cl     *kgo.Client
	topic  string
	kind   fold.Kind
	by     *keyedPartitioner
	noAcks bool // nothing is ever acknowledged

	// order is held from when a record is said until franz-go has it, so that it keeps the order in which they were said. A channel, since
	// franz-go may wait for room meanwhile, and whoever waits behind it has a context.
	order chan struct{}
	// asserting is held by the one Assert, or PublishState, at a time.
	asserting chan struct{}

	picking sync.Mutex
	picker  kgo.TopicPartitioner // guarded by picking
}

// keyedPartitioner chooses partitions as another does, of a number that does not change: keys stay where their rows are when the topic grows. franz-go
// and keptState ask it each for itself, so the choice has to be the key's.
type keyedPartitioner struct {
	inner kgo.Partitioner
	n     int // set before the first record
}

func (k *keyedPartitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return &keyedTopicPartitioner{k.inner.ForTopic(topic), k}
}

type keyedTopicPartitioner struct {
	kgo.TopicPartitioner
	of *keyedPartitioner
}

func (k *keyedTopicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

func (k *keyedTopicPartitioner) Partition(r *kgo.Record, _ int) int {
	return k.TopicPartitioner.Partition(r, k.of.n)
}

func (p *Producer) keepState(ctx context.Context, by *keyedPartitioner) (*keptState, error) {
	if p.cl.OptValue(kgo.RecordPartitioner) != kgo.Partitioner(by) {
		return nil, fmt.Errorf("%w: with KeepState the partitioner goes into ProducerConfig.Partitioner, not among the Options", ErrConfig)
	}
	return newKeptState(ctx, p.plane, p.cl, p.topic, p.kind, by)
}

const (
	// keepTries is how often a frame that went away while it was loaded is cut anew.
	keepTries = 5
	// keepRetry is the first pause after a call that failed.
	keepRetry = 100 * time.Millisecond
)

// newKeptState begins with key frames that are cut now.
func newKeptState(ctx context.Context, pl *plane.Plane, cl *kgo.Client, topic string, kind fold.Kind, by *keyedPartitioner) (*keptState, error) {
	tables, starts, err := loadState(ctx, pl, kind)
	if err != nil {
		return nil, fmt.Errorf("the state of topic %s: %w", topic, err)
	}
	by.n = len(tables)
	k := &keptState{
		said: said.New(tables, starts), plane: pl, cl: cl, topic: topic, kind: kind, by: by, noAcks: cl.OptValue(kgo.RequiredAcks) == kgo.NoAck(),
		order: make(chan struct{}, 1), asserting: make(chan struct{}, 1), picker: by.ForTopic(topic),
	}
	return k, nil
}

// loadState is loadCut, again where a frame went away meanwhile.
func loadState(ctx context.Context, pl *plane.Plane, kind fold.Kind) (tables []*memory.Table, starts []int64, err error) {
	for try := 1; ; try++ {
		tables, starts, err = loadCut(ctx, plane.NewPatience(keepRetry, time.Now), pl, kind)
		if err == nil || try == keepTries || !errors.Is(err, plane.ErrNoFrame) && !errors.Is(err, plane.ErrFrameChanged) {
			return tables, starts, err
		}
	}
}

// loadCut cuts a frame of every partition and loads it. One in which nothing was ever committed has none, and begins empty.
func loadCut(ctx context.Context, patience *plane.Patience, pl *plane.Plane, kind fold.Kind) (tables []*memory.Table, starts []int64, err error) {
	var cut plane.Cut
	var log logView
	if err := patience.Call(ctx, func(ctx context.Context) (err error) {
		cut, err = pl.Cut(ctx)
		return err
	}); err != nil {
		return nil, nil, err
	}
	if err := patience.Call(ctx, func(ctx context.Context) (err error) {
		log, err = lookAt(ctx, pl)
		return err
	}); err != nil {
		return nil, nil, err
	}
	for no, info := range log.partitions {
		f := plane.Frame{Partition: int32(no), TopicID: info.TopicID, Incarnation: info.Incarnation}
		for _, x := range cut.Frames {
			if x.Partition == f.Partition {
				f = x
			}
		}
		if f.Incarnation != info.Incarnation {
			return nil, nil, fmt.Errorf("partition %d: %w: %w", no, plane.ErrFrameChanged, plane.ErrOtherIncarnation)
		}
		t := memory.New(memory.Identity{TopicID: f.TopicID, Partition: f.Partition, Incarnation: f.Incarnation}, 0, memory.Config{Fold: kind})
		if f.Cut > 0 {
			if t, err = loadTable(ctx, patience, pl, f, kind); err != nil {
				return nil, nil, fmt.Errorf("partition %d: %w", no, err)
			}
		}
		tables, starts = append(tables, t), append(starts, f.Start)
	}
	return tables, starts, nil
}

func loadTable(ctx context.Context, patience *plane.Patience, pl *plane.Plane, f plane.Frame, kind fold.Kind) (*memory.Table, error) {
	name := plane.Whole(f.Partition, f.Cut)
	var body *plane.Download
	err := patience.Call(ctx, func(context.Context) (err error) { // which ends before the body does
		body, err = pl.Download(ctx, name, name.ETag(f.Pub), keepRetry)
		return err
	})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	fr, err := f.Read(body, name)
	if err != nil {
		return nil, err
	}
	t, h, err := memory.LoadFrom(fr, memory.Config{Fold: kind})
	if err != nil {
		return nil, err
	}
	if d, _ := t.Digest(); d != f.Digest {
		return nil, fmt.Errorf("%w: %d, start %d", plane.ErrFrameChanged, h.Cut, h.Start)
	}
	return t, nil
}

// say folds a record whose headers are encoded, and chooses its partition.
func (k *keptState) say(r *kgo.Record, headers batch.Headers) (said.Word, error) {
	k.picking.Lock()
	defer k.picking.Unlock()
	n := k.said.Partitions()
	pick := k.picker.Partition(r, n)
	if pick < 0 || pick >= n {
		return said.Word{}, fmt.Errorf("%w: the partitioner chose partition %d of %d", ErrConfig, pick, n)
	}
	r.Partition = int32(pick)
	return k.said.Say(r.Partition, batch.Record{Key: r.Key, Value: r.Value, Headers: headers}), nil
}

// produce says a record and hands it on. A record whose context ends while it waits for its turn was said all the same.
func (k *keptState) produce(ctx context.Context, r *kgo.Record, headers batch.Headers, promise func(*kgo.Record, error)) {
	if promise == nil {
		promise = func(*kgo.Record, error) {}
	}
	if ctx == nil {
		ctx = context.Background()
	}
	late := hold(ctx, k.order)
	word, err := k.say(r, headers)
	switch {
	case err != nil:
	case late != nil:
		err = late
		k.said.Settle(word, -1, err)
	default:
		k.cl.Produce(ctx, r, func(r *kgo.Record, err error) {
			k.settle(word, r, err)
			promise(r, err)
		})
	}
	if late == nil {
		<-k.order
	}
	if err != nil {
		promise(r, err)
	}
}

// hold waits for what one holds at a time.
func hold(ctx context.Context, one chan struct{}) error {
	select {
	case one <- struct{}{}:
		return nil
	default:
	}
	select {
	case one <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *keptState) settle(w said.Word, r *kgo.Record, err error) {
	offset := r.Offset
	if k.noAcks {
		offset = -1
	}
	k.said.Settle(w, offset, err)
}

// produceSync is produce of several, and waits for what became of them.
func (k *keptState) produceSync(ctx context.Context, records []*kgo.Record, headers []batch.Headers) kgo.ProduceResults {
	var done sync.WaitGroup
	results := make(kgo.ProduceResults, len(records))
	for i, r := range records {
		done.Add(1)
		k.produce(ctx, r, headers[i], func(r *kgo.Record, err error) {
			results[i] = kgo.ProduceResult{Record: r, Err: err}
			done.Done()
		})
	}
	done.Wait()
	return results
}
