package broker_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/client"
)

// reading is a consumer's next values, one at a time.
type reading struct {
	t *testing.T
	c *client.Consumer
}

func consumerOf(t *testing.T, b raw.Broker, topic, group string) *reading {
	t.Helper()
	c, err := client.NewConsumer(client.ConsumerConfig{Brokers: []string{b.Addr}, Topics: []string{topic}, Group: group,
		Options: []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}})
	require.NoError(t, err)
	return &reading{t, c}
}

// next breaks the loop when it has n.
func (r *reading) next(n int) (values []string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	for rec, err := range r.c.Records(ctx) {
		require.NoError(r.t, err)
		if values = append(values, string(rec.Value)); len(values) == n {
			break
		}
	}
	return values
}

// ten writes 0 to 9 as one batch.
func ten(t *testing.T, b raw.Broker, topic string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ProducerLinger(time.Second))
	require.NoError(t, err)
	defer cl.Close()
	var records []*kgo.Record
	for i := range 10 {
		records = append(records, &kgo.Record{Topic: topic, Partition: 0, Value: []byte(strconv.Itoa(i))})
	}
	require.NoError(t, cl.ProduceSync(t.Context(), records...).FirstErr())
}

// Who breaks the loop and comes back goes on behind the record at which it broke, though more was fetched.
func TestConsumerGoesOnWhereItBroke(t *testing.T) {
	b := startBroker(t)
	topic := raw.CreateTopic(b.Dial(t), 1).Name
	ten(t, b, topic)
	for _, group := range []string{"", "g"} {
		r := consumerOf(t, b, topic, group)
		require.Equal(t, []string{"0", "1", "2"}, r.next(3))
		require.Equal(t, []string{"3"}, r.next(1))
		require.Equal(t, []string{"4", "5", "6", "7", "8", "9"}, r.next(6))
		r.c.Close()
	}
}

// A group commits what was dealt with: neither what was fetched beyond it, nor the record at which the loop was broken.
func TestConsumerCommitsWhatWasDealtWith(t *testing.T) {
	b := startBroker(t)
	topic := raw.CreateTopic(b.Dial(t), 1).Name
	ten(t, b, topic)
	for _, want := range [][]string{{"0", "1", "2"}, {"2", "3", "4"}, {"4"}} {
		r := consumerOf(t, b, topic, "g")
		require.Equal(t, want, r.next(len(want)))
		r.c.Close()
	}
}

// What is left when its context has ended comes in the next loop, and none comes when it is closed.
func TestConsumerEnds(t *testing.T) {
	b := startBroker(t)
	topic := raw.CreateTopic(b.Dial(t), 1).Name
	ten(t, b, topic)
	r := consumerOf(t, b, topic, "g")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var values []string
	for rec, err := range r.c.Records(ctx) {
		if err != nil {
			require.ErrorIs(t, err, context.Canceled)
			values = append(values, "ended")
			continue
		}
		if values = append(values, string(rec.Value)); len(values) == 3 {
			cancel()
		}
	}
	for _, err := range r.c.Records(ctx) {
		require.ErrorIs(t, err, context.Canceled)
		values = append(values, "still")
	}
	require.Equal(t, []string{"0", "1", "2", "ended", "still", "3", "4"}, append(values, r.next(2)...))
	r.c.Close()
	for range r.c.Records(t.Context()) {
		require.Fail(t, "nothing comes of a consumer that is closed")
	}
}

// Who was told of an error, and has no records to deal with, may break the loop: the group does not wait for it.
func TestNobodyWaitsForAConsumerWithoutRecords(t *testing.T) {
	b := startBroker(t)
	topic := raw.CreateTopic(b.Dial(t), 2).Name
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	require.NoError(t, err)
	defer cl.Close()
	var beyond kadm.Offsets
	for p := range int32(2) {
		beyond.Add(kadm.Offset{Topic: topic, Partition: p, At: 1000, LeaderEpoch: -1})
	}
	_, err = kadm.NewClient(cl).CommitOffsets(t.Context(), "g", beyond)
	require.NoError(t, err)
	member := func(assigned func(int)) *client.Consumer {
		c, err := client.NewConsumer(client.ConsumerConfig{Brokers: []string{b.Addr}, Topics: []string{topic}, Group: "g", Options: []kgo.Opt{
			kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.HeartbeatInterval(200 * time.Millisecond), kgo.RebalanceTimeout(2 * time.Minute),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, to map[string][]int32) { assigned(len(to[topic])) }),
		}})
		require.NoError(t, err)
		t.Cleanup(c.Close)
		return c
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for rec, err := range member(func(int) {}).Records(ctx) {
		require.Nil(t, rec)
		require.ErrorIs(t, err, kerr.OffsetOutOfRange)
		break
	}
	in := make(chan struct{}, 1)
	member(func(n int) {
		if n > 0 {
			in <- struct{}{}
		}
	})
	select {
	case <-in:
	case <-ctx.Done():
		require.Fail(t, "the second member is not let in")
	}
}
