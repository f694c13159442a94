package broker

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
)

// sourced is a topic that a source of rows is reconciled with.
type sourced struct {
	t     require.TestingT
	ctx   context.Context
	topic *topics.Topic
	p     *client.Producer
	cl    *kgo.Client // of partitions that the test chooses
	b     *Broker
	http  *http.Client
}

func (b *Broker) sourced(t *testing.T, name, fold string, partitions int, opts ...kgo.Opt) *sourced {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s := &sourced{t: t, ctx: ctx, b: b, http: &http.Client{Transport: transport}}
	s.create(name, fold, partitions, opts...)
	t.Cleanup(s.close)
	return s
}

func (s *sourced) create(name, fold string, partitions int, opts ...kgo.Opt) {
	var err error
	configs := map[string]string{"cleanup.policy": "compact", "keyframe.fold": fold, "keyframe.interval.ms": "3600000"}
	s.topic, err = s.b.topics.Create(s.ctx, topics.Spec{Name: name, Partitions: int32(partitions), Configs: configs})
	require.NoError(s.t, err)
	s.p, err = client.NewProducer(s.ctx, client.ProducerConfig{
		Brokers: []string{s.b.KafkaAddr().String()}, Topic: name, StateURL: "http://" + s.b.StateAddr().String(), HTTPClient: s.http, Options: opts,
	})
	require.NoError(s.t, err)
	s.cl, err = kgo.NewClient(kgo.SeedBrokers(s.b.KafkaAddr().String()), kgo.DefaultProduceTopic(name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(s.t, err)
}

func (s *sourced) close() {
	s.p.Close()
	s.cl.Close()
}

// write puts a row (or with "-" deletes it) in a partition.
func (s *sourced) write(partition int32, key, value string) {
	r := s.p.Put([]byte(key), []byte(value))
	if value == "-" {
		r = s.p.Delete([]byte(key))
	}
	r.Partition = partition
	require.NoError(s.t, s.cl.ProduceSync(s.ctx, r).FirstErr())
}

// rows is the topic's state, by partition.
func (s *sourced) rows() []map[string]string {
	rows := make([]map[string]string, len(s.topic.Partitions))
	r, err := client.OpenReplica(s.ctx, client.Config{
		Brokers: []string{s.b.KafkaAddr().String()}, StateURL: "http://" + s.b.StateAddr().String(), Topic: s.topic.Name, HTTPClient: s.http,
	})
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, r.Close()) }()
	for i, p := range s.topic.Partitions {
		rows[i] = map[string]string{}
		require.NoError(s.t, r.WaitFor(s.ctx, int32(i), p.Log.Bounds().LastStable))
	}
	for row, err := range r.Scan(s.ctx, nil) {
		require.NoError(s.t, err)
		rows[row.Partition][string(row.Key)] = string(row.Value)
	}
	return rows
}

// state is the topic's state, each key of which must be live once.
func (s *sourced) state() map[string]string {
	all := map[string]string{}
	for _, rows := range s.rows() {
		for key, value := range rows {
			require.NotContains(s.t, all, key)
			all[key] = value
		}
	}
	return all
}

func (s *sourced) deltas() (n int64) {
	for _, p := range s.topic.Partitions {
		n += p.Log.Bounds().LogEnd
	}
	return n
}

func sourceOf(rows map[string]string) iter.Seq2[client.Row, error] {
	return func(yield func(client.Row, error) bool) {
		for key, value := range rows {
			var row client.Row
			row.Key, row.Value = []byte(key), []byte(value)
			if !yield(row, nil) {
				return
			}
		}
	}
}

// Whatever is in a source and in a log of several partitions, whoever partitioned it: afterwards the log is the source, one delta was written for each
// row that differs, and to do it again writes nothing.
func TestPublishStateMakesTheLogTheSource(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	b := startBroker(t)
	for round, partitions := range []int{1, 1, 2, 2, 3} {
		s := b.sourced(t, fmt.Sprintf("t%d", round), "last-value", partitions)
		home := kgo.StickyKeyPartitioner(nil).ForTopic(s.topic.Name)
		at := map[string]int{} // the partition of a key: this is a foreign partitioner in every other round
		put := func(key, value string) {
			if _, ok := at[key]; !ok {
				at[key] = r.IntN(partitions)
				if round%2 == 0 {
					at[key] = home.Partition(&kgo.Record{Key: []byte(key)}, partitions)
				}
			}
			s.write(int32(at[key]), key, value)
		}
		source, log := map[string]string{}, map[string]string{}
		for range 10 + r.IntN(50) {
			key, value := fmt.Sprintf("k%02d", r.IntN(60)), strconv.Itoa(r.IntN(3))
			source[key] = value
			if r.IntN(4) > 0 {
				put(key, value)
				log[key] = value
			}
		}
		for range 10 {
			key, value := fmt.Sprintf("k%02d", r.IntN(80)), strconv.Itoa(r.IntN(3))
			put(key, value)
			log[key] = value
		}
		differ := 0
		for key, value := range source {
			if was, ok := log[key]; !ok || was != value {
				differ++
			}
		}
		for key := range log {
			if _, ok := source[key]; !ok {
				differ++
			}
		}
		before := s.deltas()
		done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{})
		require.NoError(t, err)
		require.Equal(t, client.Equal, done.Verdict, done.Reason)
		require.Equal(t, source, s.state())
		require.EqualValues(t, differ, done.Written)
		require.Equal(t, done.Written, s.deltas()-before)

		again, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{})
		require.NoError(t, err)
		require.Equal(t, client.Equal, again.Verdict)
		require.Equal(t, client.ByDigest, again.Method)
		require.Zero(t, again.Written)
		require.Equal(t, before+done.Written, s.deltas())
	}
}
