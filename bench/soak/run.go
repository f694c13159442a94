package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/proto/digest"
)

// run is one that is under way.
type run struct {
	Config
	t        *target.Target
	tables   *load.Tables
	producer *kgo.Client
	consumer *kgo.Client
	state    state
	began    time.Time
	samples  samples

	last    [][]byte // value of each key that was sent; of send
	acked   atomic.Int64
	failed  atomic.Pointer[error] // of the producer
	got     atomic.Int64          // that have come
	newest  map[int32]uint64      // number of the last one of each partition, and one more; of receive
	arrived arrived
}

// open opens everybody.
func (c Config) open(ctx context.Context, t *target.Target) (r *run, err error) {
	r = &run{Config: c, t: t, last: make([][]byte, c.Keys), newest: map[int32]uint64{}, arrived: newArrived()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.tables, err = c.Tables(); err != nil {
		return nil, err
	}
	if r.producer, err = t.Client(c.Options(c.Name)...); err != nil {
		return nil, err
	}
	if r.consumer, err = t.Client(load.ConsumerOptions(kgo.ConsumeTopics(c.Name))...); err != nil {
		return nil, err
	}
	if r.state, err = openState(ctx, t, c.Name); err != nil {
		return nil, err
	}
	return r, r.samples.open(ctx, r)
}

func (r *run) close() error {
	for _, cl := range []*kgo.Client{r.producer, r.consumer} {
		if cl != nil {
			cl.Close()
		}
	}
	if r.state == nil {
		return nil
	}
	return r.state.Close()
}

var errLate = fmt.Errorf("nothing more has come for %s after the last acknowledgement: records are lost", late)

// all sends, receives and samples. The first that fails ends the others.
func (r *run) all(ctx context.Context, p bench.Progress) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.state.OnDrift(stop)
	deadline := time.AfterFunc(math.MaxInt64, func() { stop(errLate) })
	defer deadline.Stop()
	work, ctx := errgroup.WithContext(ctx)
	received := make(chan struct{})
	r.began = time.Now()
	work.Go(func() error {
		defer deadline.Reset(late)
		return r.send(ctx, p)
	})
	work.Go(func() error {
		defer close(received)
		return r.receive(ctx)
	})
	work.Go(func() error { return r.samples.take(ctx, r, received) })
	err := work.Wait()
	if cause := context.Cause(ctx); err != nil && errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("after %s, when %d records were acknowledged and %d had come: %w", time.Since(r.began).Round(time.Millisecond), r.acked.Load(), r.got.Load(), err)
	}
	return nil
}

// send sends what is due, and waits for the acknowledgements.
func (r *run) send(ctx context.Context, p bench.Progress) error {
	records, pace := r.tables.Records(1), load.Pace{Began: r.began, Rate: float64(r.Rate)}
	for i := range r.records() {
		if err := pace.Wait(ctx, i); err != nil {
			return err
		}
		if i%r.Rate == 0 {
			p.At(i / r.Rate)
			if err := r.failed.Load(); err != nil {
				return *err
			}
		}
		key := records.Random(r.Keys)
		record := records.Of(key)
		record.Value = append([]byte(nil), record.Value...)
		binary.BigEndian.PutUint64(record.Value, uint64(i))
		binary.BigEndian.PutUint64(record.Value[8:], uint64(pace.Due(i).UnixNano()))
		r.last[key] = record.Value
		r.producer.Produce(ctx, record, r.ack)
	}
	if err := r.producer.Flush(ctx); err != nil {
		return err
	}
	if err := r.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (r *run) ack(_ *kgo.Record, err error) {
	if err != nil {
		r.failed.CompareAndSwap(nil, &err)
		return
	}
	r.acked.Add(1)
}

// receive reads until everything has come, each once and in order.
func (r *run) receive(ctx context.Context) error {
	for r.got.Load() < r.records() {
		fetches := r.consumer.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return err
		}
		now := time.Now()
		for records := fetches.RecordIter(); !records.Done(); {
			if err := r.took(records.Next(), now); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) took(record *kgo.Record, now time.Time) error {
	if len(record.Value) != r.ValueBytes {
		return fmt.Errorf("partition %d offset %d has a value of %d bytes, %d were sent", record.Partition, record.Offset, len(record.Value), r.ValueBytes)
	}
	// One producer sends the numbers in order: a partition has them ascending, and all together have each.
	number := binary.BigEndian.Uint64(record.Value)
	if next := r.newest[record.Partition]; number < next {
		return fmt.Errorf("partition %d offset %d: record %d came after %d: doubled, or out of order", record.Partition, record.Offset, number, next-1)
	}
	r.newest[record.Partition] = number + 1
	r.got.Add(1)
	r.arrived.record(now.Sub(time.Unix(0, int64(binary.BigEndian.Uint64(record.Value[8:])))))
	r.state.Take(record)
	return nil
}

// compare holds the state to what was sent.
func (r *run) compare(ctx context.Context, topic *target.Created) error {
	ctx, cancel := context.WithTimeout(ctx, late)
	defer cancel()
	ends, err := topic.Ends(ctx)
	if err != nil {
		return err
	}
	got, err := r.state.Digest(ctx, ends)
	if err != nil {
		return err
	}
	var want digest.Digest
	var h digest.Hasher
	for key, value := range r.last {
		if value != nil {
			want.Add(h.Entry(r.tables.Key(int64(key)), value))
		}
	}
	if got != want {
		return fmt.Errorf("a state of %d rows is not the one of %d that was written", got.Count, want.Count)
	}
	return nil
}
