package kv

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/peers/nats/server"
)

// Publish is how records are put. A client's Put waits for each; these do not.
type Publish string

const (
	PublishBest   Publish = ""       // fast; atomic where the server syncs before it acknowledges: a batch shares its syncs
	PublishFast   Publish = "fast"   // a fast-ingest batch without end, whose messages are acknowledged some at a time
	PublishAtomic Publish = "atomic" // batches of 1,000 that are stored whole or not, one after the other; not with SyncAsync
	PublishAsync  Publish = "async"  // each message acknowledged by itself, 4,000 in flight
)

// Publishes are all of them.
func Publishes() []Publish { return []Publish{PublishBest, PublishFast, PublishAtomic, PublishAsync} }

const (
	asyncPending = 4000
	atomicMax    = 1000        // messages of a batch, as the server allows
	stallMax     = time.Minute // how long an acknowledgement may take
	look         = 1024        // how many records are sent between two looks at whether to go on
)

// Next makes the record of that number; nil: there is none any more.
type Next func(i int64) *kgo.Record

// Put sends what next makes, and waits until all is acknowledged; acked counts it as it is. Errors: that of the first record that was refused, the
// context's.
func (b *Bucket) Put(ctx context.Context, how Publish, next Next, acked *atomic.Int64) error {
	nc, err := nats.Connect(b.url)
	if err != nil {
		return err
	}
	defer nc.Close()
	if how == PublishBest && b.sync == server.SyncAlways {
		how = PublishAtomic
	}
	switch how {
	case PublishAsync:
		return b.putAsync(ctx, nc, next, acked)
	case PublishAtomic:
		return b.putAtomic(ctx, nc, next, acked)
	}
	return b.putFast(ctx, nc, next, acked)
}

// Fill puts a number of records.
func (b *Bucket) Fill(how Publish) keyed.Fill {
	return func(ctx context.Context, n int64, next func(int64) *kgo.Record, acked *atomic.Int64, progress func(int64)) error {
		return b.Put(ctx, how, func(i int64) *kgo.Record {
			if i == n {
				return nil
			}
			if i%look == 0 {
				progress(i)
			}
			return next(i)
		}, acked)
	}
}

// each calls put for each record, until there is none.
func (b *Bucket) each(ctx context.Context, next Next, put func(subject string, value []byte, sent int64) error) (sent int64, err error) {
	prefix := b.prefix()
	for ; ; sent++ {
		if sent%look == 0 && ctx.Err() != nil {
			return sent, ctx.Err()
		}
		r := next(sent)
		if r == nil {
			return sent, nil
		}
		if err := put(prefix+string(r.Key), r.Value, sent+1); err != nil {
			return sent, err
		}
	}
}

func (b *Bucket) putFast(ctx context.Context, nc *nats.Conn, next Next, acked *atomic.Int64) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var refused atomic.Pointer[error]
	batch, err := jetstreamext.NewFastPublisher(js, jetstreamext.FastPublishFlowControl{AckTimeout: stallMax},
		jetstreamext.WithFastPublisherErrorHandler(func(err error) { refused.CompareAndSwap(nil, &err) }))
	if err != nil {
		return err
	}
	before := acked.Load()
	sent, err := b.each(ctx, next, func(subject string, value []byte, _ int64) error {
		ack, err := batch.Add(subject, value)
		if err == nil {
			acked.Store(before + int64(ack.AckSequence))
		}
		return err
	})
	if first := refused.Load(); first != nil {
		return *first
	}
	if sent == 0 || err != nil {
		return err
	}
	all, err := batch.Close(ctx)
	if err != nil {
		return err
	}
	if first := refused.Load(); first != nil {
		return *first
	}
	if int64(all.BatchSize) != sent {
		return fmt.Errorf("%d of %d records were acknowledged", all.BatchSize, sent)
	}
	acked.Store(before + sent)
	return nil
}

// putAtomic commits a batch with its last message, so that one is held back until it is known whether another follows.
func (b *Bucket) putAtomic(ctx context.Context, nc *nats.Conn, next Next, acked *atomic.Int64) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	var (
		batch jetstreamext.BatchPublisher
		held  *nats.Msg
	)
	commit := func() error {
		ctx, cancel := context.WithTimeout(ctx, stallMax)
		defer cancel()
		done, err := batch.CommitMsg(ctx, held)
		if err != nil {
			return err
		}
		acked.Add(int64(done.BatchSize))
		batch, held = nil, nil
		return nil
	}
	_, err = b.each(ctx, next, func(subject string, value []byte, _ int64) (err error) {
		if batch == nil {
			batch, err = jetstreamext.NewBatchPublisher(js, jetstreamext.BatchFlowControl{AckTimeout: stallMax})
		} else {
			err = batch.AddMsg(held)
		}
		if err != nil {
			return err
		}
		held = &nats.Msg{Subject: subject, Data: value}
		if batch.Size() == atomicMax-1 {
			return commit()
		}
		return nil
	})
	if batch != nil && err == nil {
		err = commit()
	}
	return err
}

func (b *Bucket) putAsync(ctx context.Context, nc *nats.Conn, next Next, acked *atomic.Int64) error {
	var refused atomic.Pointer[error]
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(asyncPending),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) { refused.CompareAndSwap(nil, &err) }))
	if err != nil {
		return err
	}
	before, wait := acked.Load(), jetstream.WithStallWait(stallMax)
	sent, err := b.each(ctx, next, func(subject string, value []byte, sent int64) error {
		if sent%look == 0 {
			acked.Store(before + sent - int64(js.PublishAsyncPending()) - 1)
			if first := refused.Load(); first != nil {
				return *first
			}
		}
		_, err := js.PublishAsync(subject, value, wait)
		return err
	})
	if err != nil {
		return err
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if first := refused.Load(); first != nil {
		return *first
	}
	acked.Store(before + sent)
	return nil
}
