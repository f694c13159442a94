package keyed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Follower keeps a copy of a topic's state.
type Follower interface {
	// CatchUp makes the copy what the topic has at these ends, at least. Errors: it cannot be had, or differs from the log.
	CatchUp(ctx context.Context, ends load.Ends) error
	// Digest is that of the copy.
	Digest() (digest.Digest, error)
	// Cost is what the CatchUps have received until now.
	Cost() Cost
	// Close ends its connections. Another CatchUp goes on from what it has kept: a replica that has no directory keeps nothing.
	io.Closer
}

// Cost is what was received.
type Cost struct {
	Records int64 // of Kafka's fetches, and rows of key frames
	Bytes   int64 // in both directions, headers included
}

// Sub is what was received since.
func (c Cost) Sub(before Cost) Cost { return Cost{c.Records - before.Records, c.Bytes - before.Bytes} }

// wire counts the bytes of Kafka connections.
type wire struct{ bytes atomic.Int64 }

// OnBrokerRead implements kgo.HookBrokerRead.
func (w *wire) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	w.bytes.Add(int64(n))
}

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w *wire) OnBrokerWrite(_ kgo.BrokerMetadata, _ int16, n int, _, _ time.Duration, _ error) {
	w.bytes.Add(int64(n))
}

// dial counts those of a connection.
func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	return counted{c, w}, err
}

type counted struct {
	net.Conn
	w *wire
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.bytes.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.w.bytes.Add(int64(n))
	return n, err
}

// consumer is a Follower as any Kafka client is one: it reads the topic from where it was, into a map.
type consumer struct {
	t       *target.Target
	topic   string
	wire    *wire
	offsets map[int32]int64
	state   map[string][]byte
	records int64
}

// NewConsumer begins with nothing, at the start of the topic.
func NewConsumer(t *target.Target, topic string) Follower {
	return &consumer{t: t, topic: topic, wire: &wire{}, offsets: map[int32]int64{}, state: map[string][]byte{}}
}

func (c *consumer) CatchUp(ctx context.Context, ends load.Ends) error {
	from, left := map[int32]kgo.Offset{}, load.Ends{}
	for partition, end := range ends {
		switch at := c.offsets[partition]; {
		case at >= end:
		case at == 0:
			from[partition], left[partition] = kgo.NewOffset().AtStart(), end
		default:
			from[partition], left[partition] = kgo.NewOffset().At(at), end
		}
	}
	what := kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.topic: from})
	cl, err := c.t.Client(append(load.ConsumerOptions(what), kgo.WithHooks(c.wire))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	return load.Read(ctx, cl, left, c.take)
}

func (c *consumer) take(records []*kgo.Record) error {
	c.records += int64(len(records))
	for _, r := range records {
		if r.Value == nil {
			delete(c.state, string(r.Key))
			continue
		}
		c.state[string(r.Key)] = r.Value
	}
	last := records[len(records)-1]
	c.offsets[last.Partition] = last.Offset + 1
	return nil
}

func (c *consumer) Digest() (d digest.Digest, err error) {
	var h digest.Hasher
	for key, value := range c.state {
		d.Add(h.Entry([]byte(key), value))
	}
	return d, nil
}

func (c *consumer) Cost() Cost   { return Cost{c.records, c.wire.bytes.Load()} }
func (c *consumer) Close() error { return nil }

// replica is a Follower by key frames.
type replica struct {
	cfg  client.Config
	wire *wire
	rows atomic.Int64
	r    *client.Replica
}

// NewReplica keeps the copy in a directory, or in memory if there is none. Errors: the target has no state plane.
func NewReplica(t *target.Target, topic, dir string) (Follower, error) {
	if t.StateURL == "" {
		return nil, fmt.Errorf("%s has no state plane", t.Name)
	}
	r := &replica{wire: &wire{}}
	r.cfg = client.Config{Brokers: t.Brokers, StateURL: t.StateURL, Topic: topic, Store: client.Memory(), OnDrift: client.Halt,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: r.wire.dial}}, KafkaOptions: []kgo.Opt{kgo.WithHooks(r.wire)},
		OnEvent: func(e client.Event) {
			if e.Kind == client.Bootstrapped || e.Kind == client.CaughtUp { // one that is resumed says what it has
				r.rows.Add(e.Rows)
			}
		}}
	if dir != "" {
		r.cfg.Store = client.Dir(dir)
	}
	return r, nil
}

func (r *replica) CatchUp(ctx context.Context, ends load.Ends) (err error) {
	if r.r == nil {
		if r.r, err = client.OpenReplica(ctx, r.cfg); err != nil {
			return err
		}
	}
	for partition, end := range ends {
		if err := r.r.WaitFor(ctx, partition, end); err != nil {
			return err
		}
	}
	for _, v := range r.r.Verify(ctx) {
		if v.Outcome != client.Equal {
			return fmt.Errorf("partition %d is %s: %s", v.Partition, v.Outcome, v.Reason)
		}
	}
	return nil
}

func (r *replica) Digest() (digest.Digest, error) {
	if r.r == nil {
		return digest.Digest{}, errors.New("the replica is not open")
	}
	return r.r.Digest()
}

func (r *replica) Cost() Cost { return Cost{r.rows.Load(), r.wire.bytes.Load()} }

func (r *replica) Close() error {
	if r.r == nil {
		return nil
	}
	err := r.r.Close()
	r.r = nil
	return err
}
