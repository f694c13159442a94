package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

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
	if err := askAdvertised(pingCtx, client, brokers); err != nil {
		client.Close()
		return nil, err
	}
	return client, nil
}

// askAdvertised proves that one of the brokers answers where clients are told to connect to, which is where all but the first request goes.
func askAdvertised(ctx context.Context, client *kgo.Client, asked []string) error {
	meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	var told []string
	for _, b := range meta.Brokers {
		if _, err = client.Broker(int(b.NodeID)).Request(ctx, kmsg.NewPtrApiVersionsRequest()); err == nil {
			return nil
		}
		told = append(told, net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port))))
	}
	if err == nil {
		return nil // a cluster of no brokers: the calls to come say what they miss
	}
	return &advertisedError{strings.Join(asked, ", "), strings.Join(told, ", "), err}
}

// advertisedError is a broker that is there, and tells clients to connect to where it is not.
type advertisedError struct {
	asked, told string
	err         error
}

func (e *advertisedError) Error() string {
	return fmt.Sprintf("the broker at %s tells clients to connect to %s, and there nothing answers: %v", e.asked, e.told, e.err)
}

func (e *advertisedError) Unwrap() error { return e.err }

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
	var advertised *advertisedError
	switch {
	case errors.As(err, &damaged):
		return err.Error() + "\n  To go on: " + damage.Advice + "."
	case errors.As(err, &dial) && dial.Op == "listen":
		return err.Error() + "\n  Is another broker running? --kafka-addr and --state-addr choose other ports."
	case errors.As(err, &advertised):
		return err.Error() + "\n  keyframe serve --advertised-addr sets what it tells."
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
