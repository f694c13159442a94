package broker

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/fold"
)

// assertGuard is how long a test waits for what must come.
const assertGuard = time.Minute

// saying is a producer that keeps what it has said, of the topic "said".
type saying struct {
	*client.Producer
	t teller
	b *Broker
}

// teller is a test, or one of rapid's.
type teller interface {
	require.TestingT
	Helper()
}

func (b *Broker) said(t *testing.T, configs map[string]string) {
	t.Helper()
	_, err := b.topics.Create(t.Context(), topics.Spec{Name: "said", Partitions: 3, Configs: configs})
	require.NoError(t, err)
}

func keyFramed(kind fold.Kind) map[string]string {
	return map[string]string{"cleanup.policy": "compact", "keyframe.fold": kind.String()}
}

func (b *Broker) saying(t teller, topic string, opts ...kgo.Opt) *saying {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), assertGuard)
	defer cancel()
	p, err := client.NewProducer(ctx, client.ProducerConfig{
		Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: topic, KeepState: true, Options: opts,
	})
	require.NoError(t, err)
	return &saying{p, t, b}
}

func (s *saying) say(records ...*kgo.Record) {
	s.t.Helper()
	require.NoError(s.t, s.ProduceSync(context.Background(), records...).FirstErr())
}

func (s *saying) assert() client.Assertion {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), assertGuard)
	defer cancel()
	a, err := s.Assert(ctx)
	require.NoError(s.t, err)
	return a
}

func (s *saying) requireEqual() {
	s.t.Helper()
	a := s.assert()
	require.Equal(s.t, client.Equal, a.Outcome, "%+v", a)
	require.Equal(s.t, a.Logs, a.Ours)
	require.Empty(s.t, a.Reason)
}

func (s *saying) requireDrifted(why string) {
	s.t.Helper()
	a := s.assert()
	require.Equal(s.t, client.Drifted, a.Outcome, "%+v", a)
	require.Contains(s.t, a.Reason, why)
	require.NotEqual(s.t, a.Logs, a.Ours)
}

func (s *saying) state() map[string]string {
	s.t.Helper()
	state := map[string]string{}
	for row, err := range s.State() {
		require.NoError(s.t, err)
		state[string(row.Key)] = string(row.Value)
	}
	return state
}

func (s *saying) put(key, value string) *kgo.Record { return s.Put([]byte(key), []byte(value)) }

// record draws a delta that the fold takes, whatever it makes of it.
func (s *saying) record(t *rapid.T) *kgo.Record {
	key := []byte(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(t, "key"))
	if rapid.IntRange(0, 5).Draw(t, "delete") == 0 {
		return s.Delete(key)
	}
	document := []byte(rapid.SampledFrom([]string{`{"b":1,"a":null}`, `{"a":{"b":2}}`, `{}`, `[1]`, `7`, `null`, `{"a":1.0}`}).Draw(t, "document"))
	put := rapid.Bool().Draw(t, "put") || string(document) == "null" && s.Fold() == fold.Debezium // an update has an after-image
	switch n := rapid.SampledFrom([]int64{1, -3, 40, math.MaxInt64, math.MinInt64}).Draw(t, "n"); {
	case s.Fold() == fold.Counter && put:
		return s.Put(key, strconv.AppendInt(nil, n, 10))
	case s.Fold() == fold.Counter:
		return s.Add(key, n)
	case s.Fold() == fold.JSONMergePatch && !put:
		return s.Merge(key, document)
	case s.Fold() == fold.Debezium && !put:
		return &kgo.Record{Key: key, Value: fmt.Appendf(nil, `{"op":"u","after":%s}`, document)}
	default:
		return s.Put(key, document)
	}
}

// What was said is what the log is, for every fold, through restarts of the producer and cuts; and State is what the log's table holds.
func TestWhatWasSaidIsInTheLog(t *testing.T) {
	b := startBroker(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]fold.Kind{fold.LastValue, fold.JSONMergePatch, fold.Counter, fold.Debezium}).Draw(rt, "fold")
		n++
		topic := fmt.Sprintf("%v-%d", kind, n)
		_, err := b.topics.Create(t.Context(), topics.Spec{Name: topic, Partitions: 3, Configs: keyFramed(kind)})
		require.NoError(rt, err)
		s := b.saying(rt, topic)
		defer func() { s.Close() }()
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.IntRange(0, 19).Draw(rt, "step") {
			case 0:
				require.NoError(rt, s.Flush(t.Context()))
				s.Close()
				s = b.saying(rt, topic)
			case 1:
				_, err := b.keyframer.Cut(t.Context(), topic)
				require.NoError(rt, err)
			case 2:
				s.requireEqual()
			case 3:
				s.say(s.record(rt), s.record(rt))
			default:
				s.Produce(t.Context(), s.record(rt), nil)
			}
		}
		s.requireEqual()
		again := b.saying(rt, topic)
		defer again.Close()
		require.Equal(rt, again.state(), s.state())
	})
}

// Goroutines that write the same keys: what was said is in the order in which franz-go has it, and can be compared at any moment.
func TestAssertWhileManyProduce(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
		t.Run(kind.String(), func(t *testing.T) {
			b := startBroker(t)
			b.said(t, keyFramed(kind))
			s := b.saying(t, "said", kgo.MaxBufferedRecords(64))
			defer s.Close()
			var writers sync.WaitGroup
			var left atomic.Int64
			for w := range 8 {
				left.Add(1)
				writers.Go(func() {
					defer left.Add(-1)
					for i := range 2000 {
						r := s.Add([]byte{byte(i % 3)}, int64(i))
						if kind == fold.LastValue {
							r = s.put(string(rune(i%3)), fmt.Sprint(w, i))
						}
						s.Produce(t.Context(), r, nil)
					}
				})
			}
			for n := 0; left.Load() > 0 || n < 2; n++ {
				s.requireEqual()
			}
			writers.Wait()
			s.requireEqual()
			again := b.saying(t, "said")
			defer again.Close()
			require.Equal(t, again.state(), s.state())
		})
	}
}

func TestAssertInTransactions(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter, fold.JSONMergePatch, fold.Debezium} {
		t.Run(kind.String(), func(t *testing.T) {
			b := startBroker(t)
			b.said(t, keyFramed(kind))
			s := b.saying(t, "said", kgo.TransactionalID("t"))
			defer s.Close()
			require.NoError(t, s.BeginTransaction())
			s.requireEqual()
			s.say(s.put("a", "1"), s.put("b", "1"))
			a := s.assert()
			require.Equal(t, client.Inconclusive, a.Outcome)
			require.Contains(t, a.Reason, "a transaction of this producer is open")
			require.NoError(t, s.EndTransaction(t.Context(), kgo.TryCommit))
			s.requireEqual()

			require.NoError(t, s.BeginTransaction())
			s.say(s.put("a", "2"), s.put("a", "3"), s.Delete([]byte("b")), s.put("c", "1"))
			require.NoError(t, s.EndTransaction(t.Context(), kgo.TryAbort))
			s.requireEqual()
			require.Equal(t, map[string]string{"a": "1", "b": "1"}, s.state())

			require.NoError(t, s.BeginTransaction())
			s.say(s.put("a", "4"), s.Delete([]byte("b")))
			require.NoError(t, s.EndTransaction(t.Context(), kgo.TryCommit))
			s.requireEqual()
			require.Equal(t, map[string]string{"a": "4"}, s.state())

			// Behind its back.
			require.NoError(t, s.Client().BeginTransaction())
			s.say(s.put("a", "5"))
			a = s.assert()
			require.Equal(t, client.Inconclusive, a.Outcome)
			require.Contains(t, a.Reason, "a transaction is open")
			require.NoError(t, s.Client().EndTransaction(t.Context(), kgo.TryAbort))
			s.requireDrifted("1 row in both, but at least one value differs")
		})
	}
}

func TestKeepStateConfig(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	cfg := client.ProducerConfig{Brokers: []string{b.KafkaAddr().String()}, Topic: "said"}
	p, err := client.NewProducer(t.Context(), cfg)
	require.NoError(t, err)
	defer p.Close()
	_, err = p.Assert(t.Context())
	require.ErrorIs(t, err, client.ErrConfig)
	for _, err := range p.State() {
		require.ErrorIs(t, err, client.ErrConfig)
	}
	cfg.KeepState = true
	_, err = client.NewProducer(t.Context(), cfg)
	require.ErrorIs(t, err, client.ErrConfig)
	cfg.StateURL = "http://" + b.StateAddr().String()
	cfg.Options = []kgo.Opt{kgo.RecordPartitioner(kgo.RoundRobinPartitioner())}
	_, err = client.NewProducer(t.Context(), cfg)
	require.ErrorIs(t, err, client.ErrConfig)

	cfg.Options = nil
	for _, by := range []kgo.Partitioner{kgo.RoundRobinPartitioner(), kgo.LeastBackupPartitioner()} {
		cfg.Partitioner = by
		_, err = client.NewProducer(t.Context(), cfg)
		require.ErrorIs(t, err, client.ErrConfig)
	}
	cfg.Partitioner = kgo.ManualPartitioner()
	s := &saying{nil, t, b}
	s.Producer, err = client.NewProducer(t.Context(), cfg)
	require.NoError(t, err)
	defer s.Close()
	r := s.put("a", "1")
	r.Partition = 2
	s.say(r)
	require.Equal(t, int32(2), r.Partition)
	s.requireEqual()
	r = s.put("a", "2")
	r.Partition = 3
	require.ErrorIs(t, s.ProduceSync(t.Context(), r).FirstErr(), client.ErrConfig)
	s.requireEqual() // it was not said
}
