package keyed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
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
	Records int64 // of Kafka's fetches, and rows of key frames and of what changed since a position
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
	cfg     client.Config
	wire    *wire
	records atomic.Int64
	r       *client.Replica

	mu   sync.Mutex
	told map[int32]time.Time // by partition, of the latest verdict of those that were told; guarded by mu
	more chan struct{}       // closed with the next one; guarded by mu
}

// NewReplica keeps the copy in a directory, or in memory if there is none. Errors: the target has no state plane.
func NewReplica(t *target.Target, topic, dir string) (Follower, error) {
	if t.StateURL == "" {
		return nil, fmt.Errorf("%s has no state plane", t.Name)
	}
	r := &replica{wire: &wire{}, told: map[int32]time.Time{}, more: make(chan struct{})}
	r.cfg = client.Config{Brokers: t.Brokers, StateURL: t.StateURL, Topic: topic, Store: client.Memory(), OnDrift: client.Halt,
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: r.wire.dial}}, KafkaOptions: []kgo.Opt{kgo.WithHooks(r.wire, fetched{&r.records})},
		OnEvent: r.event, OnVerdict: r.verdict}
	if dir != "" {
		r.cfg.Store = client.Dir(dir)
	}
	return r, nil
}

// fetched counts the records of Kafka's fetches.
type fetched struct{ n *atomic.Int64 }

// OnFetchRecordBuffered implements kgo.HookFetchRecordBuffered.
func (f fetched) OnFetchRecordBuffered(*kgo.Record) { f.n.Add(1) }

// event counts the rows that were loaded; those of other events were there before.
func (r *replica) event(e client.Event) {
	if e.Kind == client.Bootstrapped || e.Kind == client.CaughtUp {
		r.records.Add(e.Rows)
	}
}

func (r *replica) verdict(v client.Verdict) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v.Time.After(r.told[v.Partition]) { // of a comparison that was made before, it may be told afterwards
		r.told[v.Partition] = v.Time
	}
	close(r.more)
	r.more = make(chan struct{})
}

// counted waits until a verdict was told: what happened to its partition before is told, and so counted, then.
func (r *replica) counted(ctx context.Context, v client.Verdict) error {
	for {
		r.mu.Lock()
		there, more := !r.told[v.Partition].Before(v.Time), r.more
		r.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
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
		if err := r.counted(ctx, v); err != nil {
			return err
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

func (r *replica) Cost() Cost { return Cost{r.records.Load(), r.wire.bytes.Load()} }

func (r *replica) Close() error {
	if r.r == nil {
		return nil
	}
	err := r.r.Close()
	r.r = nil
	return err
}
