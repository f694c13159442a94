package broker

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/fold"
)

// mend publishes a state, and what the producer says afterwards is that.
func (s *saying) mend(source iter.Seq2[client.Row, error], opts client.PublishOptions) client.Published {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), assertGuard)
	defer cancel()
	done, err := s.PublishState(ctx, source, opts)
	require.NoError(s.t, err)
	require.Equal(s.t, client.Equal, done.Verdict, done.Reason)
	s.requireEqual()
	return done
}

func source(state map[string]string) iter.Seq2[client.Row, error] {
	return func(yield func(client.Row, error) bool) {
		for key, value := range state {
			var row client.Row
			row.Key, row.Value = []byte(key), []byte(value)
			if !yield(row, nil) {
				return
			}
		}
	}
}

// The circle is closed: whatever made the log another than was said, what was said mends it, at the cost of what differs.
func TestPublishWhatWasSaid(t *testing.T) {
	for _, kind := range []fold.Kind{fold.JSONMergePatch, fold.Counter} {
		t.Run(kind.String(), func(t *testing.T) {
			b := startBroker(t)
			b.said(t, keyFramed(kind))
			var net lossy
			s := b.saying(t, "said", kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite(), kgo.Dialer(net.dial))
			defer s.Close()
			want := map[string]string{}
			var all []*kgo.Record
			for i := range 100 {
				want[fmt.Sprint("k", i)] = "1"
				all = append(all, s.put(fmt.Sprint("k", i), "1"))
			}
			s.say(all...)
			s.requireEqual()
			net.drop.Store(true)
			s.say(s.put("k1", "2"), s.Delete([]byte("k2")), s.put("new", "3"))
			net.drop.Store(false)
			want["k1"], want["new"] = "2", "3"
			delete(want, "k2")
			other := b.saying(t, "said")
			defer other.Close()
			other.say(other.put("k7", "9"), other.put("theirs", "9"), other.Delete([]byte("k8")))
			s.requireDrifted("rows")
			state := s.State() // of the moment at which it is read
			s.say(s.put("late", "1"))
			want["late"] = "1"
			done := s.mend(state, client.PublishOptions{})
			require.Equal(t, int64(6), done.Written)
			require.Equal(t, want, s.state())
			require.Zero(t, s.mend(s.State(), client.PublishOptions{}).Written)

			s.say(s.put("k1", "4")) // and goes on from there
			want["k1"] = "4"
			s.requireEqual()
			again := b.saying(t, "said")
			defer again.Close()
			require.Equal(t, want, again.state())
			other.requireDrifted("the log has")
		})
	}
}

// Another source is what was said, once it is published.
func TestPublishAnotherState(t *testing.T) {
	for _, id := range []string{"", "t"} {
		b := startBroker(t)
		b.said(t, keyFramed(fold.Counter))
		var opts []kgo.Opt
		if id != "" {
			opts = append(opts, kgo.TransactionalID(id))
		}
		s := b.saying(t, "said", opts...)
		defer s.Close()
		begin := func() {
			if id != "" {
				require.NoError(t, s.BeginTransaction())
			}
		}
		end := func() {
			if id != "" {
				require.NoError(t, s.EndTransaction(t.Context(), kgo.TryCommit))
			}
		}
		begin()
		s.say(s.Add([]byte("a"), 1), s.Add([]byte("b"), 1))
		if id != "" {
			_, err := s.PublishState(t.Context(), s.State(), client.PublishOptions{})
			require.ErrorIs(t, err, client.ErrOpenTransaction)
		}
		end()
		want := map[string]string{"a": "7", "c": "1"}
		_, err := s.PublishState(t.Context(), source(want), client.PublishOptions{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, map[string]string{"a": "1", "b": "1"}, s.state())
		s.mend(source(want), client.PublishOptions{})
		require.Equal(t, want, s.state())
		begin()
		s.say(s.Add([]byte("a"), 1))
		end()
		s.requireEqual()
		want["a"] = "8"
		require.Equal(t, want, s.state())
	}
}

// Where the topic was created anew, all of it is written, and the producer goes on.
func TestPublishToATopicThatWasCreatedAnew(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	s := b.saying(t, "said")
	defer s.Close()
	s.say(s.put("a", "1"), s.put("b", "1"))
	require.NoError(t, b.topics.Delete(t.Context(), "said"))
	b.said(t, keyFramed(fold.LastValue))
	s.requireDrifted("another incarnation")
	require.Error(t, s.ProduceSync(t.Context(), s.put("b", "2")).FirstErr())
	require.Equal(t, int64(2), s.mend(s.State(), client.PublishOptions{}).Written)
	s.say(s.put("a", "2"))
	s.requireEqual()
}

// A row that others moved to another partition is still there; mending ends where each key is in one.
func TestPublishWhereKeysHaveMoved(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	s := b.saying(t, "said")
	defer s.Close()
	r := s.put("a", "1")
	s.say(r)
	other, err := kgo.NewClient(kgo.SeedBrokers(b.KafkaAddr().String()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer other.Close()
	moved := (r.Partition + 1) % 3
	require.NoError(t, other.ProduceSync(t.Context(),
		&kgo.Record{Topic: "said", Partition: r.Partition, Key: []byte("a")},
		&kgo.Record{Topic: "said", Partition: moved, Key: []byte("a"), Value: []byte("1")}).FirstErr())
	s.requireEqual()
	s.say(s.put("a", "2"))
	s.requireDrifted("the log has")
	s.mend(s.State(), client.PublishOptions{})
	s.say(s.put("a", "3"))
	s.requireEqual()
}

// A key that is written again is written where it was said.
func TestPublishWhereRecordsNameTheirPartition(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	p, err := client.NewProducer(t.Context(), client.ProducerConfig{
		Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "said",
		KeepState: true, Partitioner: kgo.ManualPartitioner(),
	})
	require.NoError(t, err)
	defer p.Close()
	s := &saying{p, t, b}
	put := func(value string) *kgo.Record {
		r := s.put("a", value)
		r.Partition = 2
		return r
	}
	s.say(put("1"))
	other, err := kgo.NewClient(kgo.SeedBrokers(b.KafkaAddr().String()), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.ProduceSync(t.Context(), &kgo.Record{Topic: "said", Partition: 2, Key: []byte("a")}).FirstErr())
	s.requireDrifted("partition 2: 1 row here, 0 in the log; the log has 1 record more")
	s.mend(s.State(), client.PublishOptions{})
	s.say(put("2"))
	s.requireEqual()
}

// Goroutines go on producing while what was said is published: they wait, and nothing that they say is taken back.
func TestPublishWhileOthersProduce(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.Counter))
	s := b.saying(t, "said")
	defer s.Close()
	stop := make(chan struct{})
	var sums [4]atomic.Int64
	done := make(chan struct{})
	for w := range sums {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
					s.say(s.Add(fmt.Append(nil, w), 1))
					sums[w].Add(1)
				}
			}
		}()
	}
	other := b.saying(t, "said")
	defer other.Close()
	for range 3 {
		other.say(other.Add([]byte("0"), 1000), other.put("theirs", "1"))
		_, err := s.PublishState(t.Context(), s.State(), client.PublishOptions{})
		require.NoError(t, err)
	}
	close(stop)
	for range sums {
		<-done
	}
	s.mend(s.State(), client.PublishOptions{})
	want := map[string]string{}
	for w := range sums {
		want[fmt.Sprint(w)] = fmt.Sprint(sums[w].Load())
	}
	maps.DeleteFunc(want, func(_, v string) bool { return v == "0" })
	require.Equal(t, want, s.state())
}

// What was published lies behind the last record that was said; that it does is known where records are handed in before the log is looked at again.
func TestAssertBesideRecordsAfterPublishing(t *testing.T) {
	b := startBroker(t)
	b.said(t, keyFramed(fold.LastValue))
	s := b.saying(t, "said", kgo.MaxBufferedRecords(64))
	defer s.Close()
	var keys [3][]string // two of each partition
	for i := 0; len(keys[0]) < 2 || len(keys[1]) < 2; i++ {
		r := s.put(fmt.Sprint("k", i), "1")
		s.say(r)
		keys[r.Partition] = append(keys[r.Partition], string(r.Key))
	}
	other := b.saying(t, "said")
	defer other.Close()
	other.say(other.put(keys[0][0], "theirs"))
	s.say(s.put(keys[0][1], "2"))
	done, err := s.PublishState(t.Context(), s.State(), client.PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict)
	require.Equal(t, int64(1), done.Written)

	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				s.Produce(context.Background(), s.put(keys[1][0], fmt.Sprint(i)), nil)
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	for range 5 {
		s.requireEqual()
	}
}
