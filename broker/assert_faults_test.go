package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/fold"
)

// lossy is a network that loses produce requests while drop is set.
type lossy struct {
	drop atomic.Bool
	lost atomic.Int64
}

func (l *lossy) dial(ctx context.Context, network, host string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, host)
	return &lossyConn{c, l}, err
}

type lossyConn struct {
	net.Conn
	*lossy
}

// Write is given one request at a time: its length, its key.
func (c *lossyConn) Write(b []byte) (int, error) {
	if c.drop.Load() && len(b) > 6 && binary.BigEndian.Uint16(b[4:]) == 0 {
		c.lost.Add(1)
		return len(b), nil
	}
	return c.Conn.Write(b)
}

// Without acknowledgements nobody else would ever know.
func TestAssertFindsWhatAcks0Lost(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.Counter))
	var net lossy
	s := b.saying(t, "said", kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(), kgo.Dialer(net.dial))
	defer s.Close()
	for i := range 100 {
		s.Produce(t.Context(), s.Add(fmt.Append(nil, "k", i%7), 1), nil)
		if i%10 == 0 {
			s.requireEqual()
		}
	}
	s.requireEqual()
	net.drop.Store(true)
	s.say(s.Add([]byte("k0"), 1))
	require.Positive(t, net.lost.Load())
	net.drop.Store(false)
	s.requireDrifted("the log has 1 record fewer than were handed on")
	s.say(s.Add([]byte("k0"), 1))
	s.requireDrifted("fewer")
}

// A delivery that failed was said all the same.
func TestAssertFindsWhatFailed(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	var away atomic.Bool
	tried := make(chan struct{}, 1)
	s := b.saying(t, "said", kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		if away.Load() {
			select {
			case tried <- struct{}{}:
			default:
			}
			return nil, fmt.Errorf("no way to %s", host)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, host)
	}))
	defer s.Close()
	s.requireEqual()
	away.Store(true) // before the connection that produces is there
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := make(chan error, 1)
	s.Produce(ctx, s.put("a", "1"), func(_ *kgo.Record, err error) { failed <- err })
	<-tried
	cancel()
	require.Error(t, <-failed)
	away.Store(false)
	s.requireDrifted("1 row here, 0 in the log; 1 of 1 records handed in were not acknowledged, the last: ")
	s.say(s.put("b", "1"))
	s.requireDrifted("1 of 1 records")
	s.say(s.put("a", "1"))
	s.requireEqual()
}

// mutation changes records behind the producer's back.
type mutation struct{ on atomic.Bool }

func (m *mutation) OnProduceRecordBuffered(r *kgo.Record) {
	if m.on.Load() {
		r.Value = append([]byte("not "), r.Value...)
	}
}

func TestAssertFindsWhatChangedOnTheWay(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	var m mutation
	s := b.saying(t, "said", kgo.WithHooks(&m))
	defer s.Close()
	s.say(s.put("a", "1"), s.put("b", "1"))
	s.requireEqual()
	m.on.Store(true)
	s.say(s.put("a", "2"))
	m.on.Store(false)
	s.requireDrifted("1 row in both, but at least one value differs; the log has as many records as were handed in: one is not what it was")
	require.Equal(t, map[string]string{"a": "2", "b": "1"}, s.state())
}

func TestAssertFindsAnotherWriter(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.Counter))
	s := b.saying(t, "said")
	defer s.Close()
	s.say(s.Add([]byte("a"), 1))
	s.requireEqual()
	other := b.saying(t, "said")
	defer other.Close()
	other.say(other.Add([]byte("a"), 1))
	other.requireEqual()
	s.say(s.Add([]byte("a"), 1))
	s.requireDrifted("the log has 1 record more than were acknowledged here")
	other.requireDrifted("the log has 1 record more than were acknowledged here")
}

func TestAssertOnATopicThatWasCreatedAnew(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	s := b.saying(t, "said")
	defer s.Close()
	s.say(s.put("a", "1"))
	s.requireEqual()
	require.NoError(t, b.topics.Delete(t.Context(), "said"))
	b.said(t, keyFramed(fold.LastValue))
	s.requireDrifted("another incarnation")
	other := b.saying(t, "said")
	defer other.Close()
	other.say(other.put("a", "1"))
	s.requireEqual() // in content it is the same again

	require.NoError(t, b.topics.Delete(t.Context(), "said"))
	_, err := b.topics.Create(t.Context(), topics.Spec{Name: "said", Partitions: 1, Configs: keyFramed(fold.LastValue)})
	require.NoError(t, err)
	s.requireDrifted("the topic has 1 partitions, and had 3")
}

func TestAssertOnATopicThatGrew(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	s := b.saying(t, "said", kgo.MetadataMinAge(10*time.Millisecond))
	defer s.Close()
	var before, after []*kgo.Record
	for i := range 20 {
		before, after = append(before, s.put(fmt.Sprint(i), "1")), append(after, s.put(fmt.Sprint(i), "2"))
	}
	s.say(before...)
	_, err := b.topics.Grow(t.Context(), "said", 7)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s.Client().ForceMetadataRefresh()
		leader, _, err := s.Client().PartitionLeader("said", 6)
		return err == nil && leader >= 0
	}, assertGuard, 10*time.Millisecond)
	s.say(after...)
	for i := range before {
		require.Equal(t, before[i].Partition, after[i].Partition, "a key has moved")
	}
	a := s.assert()
	require.Equal(t, client.Inconclusive, a.Outcome)
	require.Contains(t, a.Reason, "the topic has 7 partitions, and had 3")
	s.Close()
	again := b.saying(t, "said")
	defer again.Close()
	again.requireEqual()
}

// Rows leave what was said as they leave the log, where each delta is a whole value; else it is said that nothing can be said.
func TestAssertWhereRowsExpire(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
		t.Run(kind.String(), func(t *testing.T) {
			b := startBroker(t)
			configs := keyFramed(kind)
			configs["cleanup.policy"], configs["retention.ms"] = "compact,delete", "-1"
			b.said(t, configs)
			topic, _ := b.topics.Get("said")
			s := b.saying(t, "said", kgo.TransactionalID("t"))
			defer s.Close()
			write := func(records ...*kgo.Record) {
				require.NoError(t, s.BeginTransaction())
				s.say(records...)
				require.NoError(t, s.EndTransaction(t.Context(), kgo.TryCommit))
			}
			expire := func(key string) {
				r := s.put(key, "1")
				write(r)
				_, err := b.topics.DeleteRecords(t.Context(), topic, topic.Partitions[r.Partition], r.Offset)
				require.NoError(t, err)
				_, err = b.keyframer.Cut(t.Context(), "said")
				require.NoError(t, err)
			}
			for range 10 { // the markers move the offsets
				for i := range 10 {
					write(s.put(fmt.Sprint("k", i), "1"))
				}
			}
			s.requireEqual()
			for i := range 3 {
				expire(fmt.Sprint("x", i))
				s.requireEqual()
			}
			require.Less(t, len(s.state()), 12, "nothing expired: the test proves less than it says")

			r := s.put("y", "1")
			expire("y")
			if kind == fold.Counter {
				write(s.Add(r.Key, 1))
				expire("y2")
			}
			other := b.saying(t, "said")
			defer other.Close()
			other.say(other.put("z", "1"))
			a := s.assert()
			if kind == fold.LastValue {
				require.Equal(t, client.Drifted, a.Outcome, "%+v", a)
			} else {
				require.Equal(t, client.Inconclusive, a.Outcome, "%+v", a)
				require.Contains(t, a.Reason, "have expired")
			}
		})
	}
}
