package kv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keyframelog/keyframe/bench/keyed"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Via is how a copy is read.
type Via string

const (
	ViaBest     Via = ""         // both of them, one after the other: the faster counts
	ViaWatch    Via = "watch"    // the bucket's WatchAll
	ViaConsumer Via = "consumer" // an ordered pull consumer of its stream
)

// Vias are all of them.
func Vias() []Via { return []Via{ViaBest, ViaWatch, ViaConsumer} }

// Each are those that it stands for.
func (v Via) Each() []Via {
	if v == ViaBest {
		return []Via{ViaWatch, ViaConsumer}
	}
	return []Via{v}
}

// Partition is the one of the ends of a bucket; a bucket is a single stream.
const Partition = 0

// Ends are where the bucket ends now, as a follower is told it.
func (b *Bucket) Ends(ctx context.Context) (load.Ends, error) {
	_, put, err := b.Stored(ctx)
	return load.Ends{Partition: int64(put) + 1}, err
}

// follower keeps a copy in a map.
type follower struct {
	b       *Bucket
	via     Via
	state   map[string][]byte
	at      uint64 // sequence of the last message that was read
	records int64
	bytes   atomic.Int64
}

// Follow begins with nothing.
func (b *Bucket) Follow(via Via) keyed.Follower {
	return &follower{b: b, via: via, state: map[string][]byte{}}
}

// CatchUp implements keyed.Follower, with a connection of its own.
func (f *follower) CatchUp(ctx context.Context, ends load.Ends) error {
	end := uint64(ends[Partition]) - 1
	if f.at >= end {
		return nil
	}
	nc, err := nats.Connect(f.b.url, nats.SetCustomDialer(f))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	if f.via == ViaConsumer {
		return f.consume(ctx, js, end)
	}
	return f.watch(ctx, js, end)
}

// watch reads what the bucket tells who watches it.
func (f *follower) watch(ctx context.Context, js jetstream.JetStream, end uint64) (err error) {
	bucket, err := js.KeyValue(ctx, f.b.name)
	if err != nil {
		return err
	}
	var opts []jetstream.WatchOpt
	if f.at > 0 {
		opts = append(opts, jetstream.ResumeFromRevision(f.at+1))
	}
	w, err := bucket.WatchAll(ctx, opts...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Stop()) }()
	for f.at < end {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return fmt.Errorf("the watch ended at %d, before %d", f.at, end)
			}
			if e != nil { // nil: what there was has been told
				f.take(e.Key(), e.Value(), e.Operation() != jetstream.KeyValuePut, e.Revision())
			}
		}
	}
	return nil
}

// consume reads the stream. Of each key it has one message, so all of them are the state, and the last ones need not be looked for.
func (f *follower) consume(ctx context.Context, js jetstream.JetStream, end uint64) error {
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if f.at > 0 {
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.at+1
	}
	c, err := js.OrderedConsumer(ctx, f.b.stream(), cfg)
	if err != nil {
		return err
	}
	prefix, done := len(f.b.prefix()), make(chan error, 1)
	ended := false
	reading, err := c.Consume(func(m jetstream.Msg) {
		if ended {
			return
		}
		meta, err := m.Metadata()
		if err == nil {
			f.take(m.Subject()[prefix:], m.Data(), len(m.Headers()) > 0 && m.Headers().Get("KV-Operation") != "", meta.Sequence.Stream)
		}
		if ended = err != nil || f.at >= end; ended {
			done <- err
		}
	})
	if err != nil {
		return err
	}
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	reading.Stop()
	<-reading.Closed()
	return err
}

func (f *follower) take(key string, value []byte, deleted bool, at uint64) {
	f.records++
	f.at = at
	if deleted {
		delete(f.state, key)
		return
	}
	f.state[key] = value
}

// Digest implements keyed.Follower.
func (f *follower) Digest() (d digest.Digest, err error) {
	var h digest.Hasher
	for key, value := range f.state {
		d.Add(h.Entry([]byte(key), value))
	}
	return d, nil
}

// Cost implements keyed.Follower.
func (f *follower) Cost() keyed.Cost { return keyed.Cost{Records: f.records, Bytes: f.bytes.Load()} }

// Close implements keyed.Follower: between two CatchUps nothing is open.
func (f *follower) Close() error { return nil }

// Dial implements nats.CustomDialer, and counts what goes through.
func (f *follower) Dial(network, addr string) (net.Conn, error) {
	c, err := net.DialTimeout(network, addr, nats.DefaultTimeout)
	return counted{c, &f.bytes}, err
}

type counted struct {
	net.Conn
	bytes *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}
