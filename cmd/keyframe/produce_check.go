package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// producedTo reads the configs of a topic. One that does not exist is an error here, before the first line.
func producedTo(ctx context.Context, c *config, topic string) (map[string]string, error) {
	client, err := kafkaClient(ctx, c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	for _, r := range configs {
		if r.Err != nil {
			return nil, topicError("produce to", topic, r.Err, "")
		}
	}
	return configValues(configs, topic), nil
}

// recordCheck returns what a record has to pass before it is sent: the broker refuses a whole batch for one bad record, and with it the
// good lines that happen to stand beside it. values are the topic's configs.
func recordCheck(topic string, values map[string]string) (func(*kgo.Record) error, error) {
	checkTime := timeCheck(values)
	if !strings.Contains(values["cleanup.policy"], "compact") {
		return checkTime, nil
	}
	kind, err := fold.ParseKind(values["keyframe.fold"])
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	return func(r *kgo.Record) error { return cmp.Or(checkTime(r), deltaCheck(kind, r)) }, nil
}

func deltaCheck(kind fold.Kind, r *kgo.Record) error {
	var headers batch.Headers
	if len(r.Headers) > 0 {
		list := make([]batch.Header, len(r.Headers))
		for i, h := range r.Headers {
			list[i] = batch.Header{Key: h.Key, Value: h.Value}
		}
		headers = batch.AppendHeaders(nil, list...)
	}
	_, err := kind.Delta(r.Key, r.Value, headers)
	return err
}

// timeCheck refuses the times that the topic's configs refuse.
func timeCheck(values map[string]string) func(*kgo.Record) error {
	if values["message.timestamp.type"] == "LogAppendTime" {
		return func(*kgo.Record) error { return nil } // the broker sets the time
	}
	after, before := milliseconds(values, "message.timestamp.after.max.ms"), milliseconds(values, "message.timestamp.before.max.ms")
	return func(r *kgo.Record) error {
		if r.Timestamp.IsZero() {
			return nil // it becomes the time of sending
		}
		at, now := r.Timestamp.UnixMilli(), time.Now().UnixMilli()
		switch {
		case at > now && at-now > after:
			return fmt.Errorf("timestamp %d (%s) is more than %d ms in the future (message.timestamp.after.max.ms); write milliseconds since 1970",
				at, r.Timestamp.UTC().Format(time.RFC3339), after)
		case at < now && now-at > before:
			return fmt.Errorf("timestamp %d (%s) is more than %d ms in the past (message.timestamp.before.max.ms)", at, r.Timestamp.UTC().Format(time.RFC3339), before)
		}
		return nil
	}
}

// milliseconds reads a config; a broker that does not say sets no limit here, and refuses itself.
func milliseconds(values map[string]string, name string) int64 {
	if n, err := strconv.ParseInt(values[name], 10, 64); err == nil {
		return n
	}
	return math.MaxInt64
}
