package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/storage/damage"
)

// dialTimeout bounds how long a tool waits for a broker that is not there.
const dialTimeout = 5 * time.Second

// kafkaClient connects to the brokers of the settings and proves that one answers, so that a tool that points nowhere says so
// at once rather than retry in silence.
func kafkaClient(ctx context.Context, c *config, opts ...kgo.Opt) (*kgo.Client, error) {
	brokers := brokerList(c)
	opts = append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.ClientID("keyframe"), kgo.RetryTimeout(30 * time.Second)}, opts...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	pingCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := client.Ping(pingCtx); err != nil {
		client.Close()
		return nil, fmt.Errorf("no broker answers at %s (%s): %w", strings.Join(brokers, ", "), c.source("brokers"), err)
	}
	return client, nil
}

// brokerList allows commas in each element too, as Kafka's own tools do: no address contains one.
func brokerList(c *config) []string { return splitList(strings.Join(c.list("brokers"), ",")) }

// withAdmin runs fn with an admin client.
func withAdmin(ctx context.Context, c *config, fn func(*kadm.Client) error) error {
	client, err := kafkaClient(ctx, c)
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(kadm.NewClient(client))
}

// explain adds what to do next to the errors that users meet most.
func explain(err error) string {
	var dial *net.OpError
	var damaged *damage.Error
	switch {
	case errors.As(err, &damaged):
		return err.Error() + "\n  To go on: " + damage.Advice + "."
	case errors.As(err, &dial) && dial.Op == "listen":
		return err.Error() + "\n  Is another broker running? --kafka-addr and --state-addr choose other ports."
	case errors.As(err, &dial) && dial.Op == "dial":
		return err.Error() + "\n  Start a broker with: keyframe serve"
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return err.Error() + "\n  keyframe topic list shows what there is."
	}
	return err.Error()
}

// topicError names the topic in an error of an admin call and prefers the broker's own message: what Kafka says of a code in general may
// contradict it.
func topicError(what, topic string, err error, message string) error {
	if err == nil {
		return nil
	}
	var code *kerr.Error
	if message != "" && errors.As(err, &code) {
		return &explained{fmt.Sprintf("%s topic %s: %s (%s)", what, topic, message, code.Message), err}
	}
	return fmt.Errorf("%s topic %s: %w", what, topic, err)
}

// explained is an error in the broker's words.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }
