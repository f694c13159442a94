package soak

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// state is who keeps what the records amount to.
type state interface {
	// OnDrift says whom to tell that it has become another one than the log's. It is called once, before anything is sent.
	OnDrift(stop context.CancelCauseFunc)
	// Take is given every record that has come, in the order of its partition.
	Take(*kgo.Record)
	// Applied is how many records are in it. It may be called at any time.
	Applied() int64
	// Digest waits until everything below the ends is in it.
	Digest(ctx context.Context, ends load.Ends) (digest.Digest, error)
	// equal is how often it was compared with the log. ok: it is.
	equal() (n int64, ok bool)
	Close() error
}

func openState(ctx context.Context, t *target.Target, topic string) (state, error) {
	if t.StateURL == "" {
		return &rows{byKey: map[string][]byte{}}, nil
	}
	f := &frames{}
	var err error
	f.Replica, err = client.OpenReplica(ctx, client.Config{Brokers: t.Brokers, StateURL: t.StateURL, Topic: topic, Store: client.Memory(), OnDrift: client.Halt, OnVerdict: f.told})
	return f, err
}

// rows is the state of a consumer: the last value of each key.
type rows struct {
	byKey   map[string][]byte
	applied atomic.Int64
}

func (r *rows) OnDrift(context.CancelCauseFunc) {} // nothing tells

func (r *rows) Take(record *kgo.Record) {
	r.byKey[string(record.Key)] = record.Value
	r.applied.Add(1)
}

func (r *rows) Applied() int64 { return r.applied.Load() }

// Digest is called once everything has come.
func (r *rows) Digest(context.Context, load.Ends) (d digest.Digest, err error) {
	var h digest.Hasher
	for key, value := range r.byKey {
		d.Add(h.Entry([]byte(key), value))
	}
	return d, nil
}

func (r *rows) equal() (int64, bool) { return 0, false }
func (r *rows) Close() error         { return nil }

// frames is the state of a replica, which is compared with the log at every key frame.
type frames struct {
	*client.Replica
	times atomic.Int64 // that it was equal
	ended atomic.Bool  // the last comparison counts by its own verdicts, which are told at some time
	stop  atomic.Pointer[context.CancelCauseFunc]
	drift atomic.Pointer[error]
}

func (f *frames) told(v client.Verdict) {
	switch v.Outcome {
	case client.Equal:
		if !f.ended.Load() {
			f.times.Add(1)
		}
	case client.Drifted:
		err := fmt.Errorf("the replica has drifted: partition %d at %d: %s", v.Partition, v.At, v.Reason)
		f.drift.CompareAndSwap(nil, &err)
		if stop := f.stop.Load(); stop != nil {
			(*stop)(err)
		}
	}
}

func (f *frames) OnDrift(stop context.CancelCauseFunc) { f.stop.Store(&stop) }
func (f *frames) Take(*kgo.Record)                     {} // it reads by itself
func (f *frames) equal() (int64, bool)                 { return f.times.Load(), true }

// Applied counts offsets: there is one for each record, from 0 on.
func (f *frames) Applied() (n int64) {
	for _, p := range f.Positions() {
		n += p.Offset
	}
	return n
}

func (f *frames) Digest(ctx context.Context, ends load.Ends) (d digest.Digest, err error) {
	for partition, end := range ends {
		if err := f.WaitFor(ctx, partition, end); err != nil {
			return d, err
		}
	}
	f.ended.Store(true)
	for _, v := range f.Verify(ctx) {
		if v.Outcome != client.Equal {
			return d, fmt.Errorf("partition %d of the replica is %s: %s", v.Partition, v.Outcome, v.Reason)
		}
		f.times.Add(1)
	}
	if err := f.drift.Load(); err != nil {
		return d, *err
	}
	return f.Replica.Digest()
}
