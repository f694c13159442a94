package broker_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
