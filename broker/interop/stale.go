package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// makeStale makes two equal topics whose tombstones are gone, so that who comes back below misses deletes: one serves it all the same, as
// Kafka does, one refuses. What is left is more than a client takes with one fetch.
func makeStale(ctx context.Context, w *workplace, b *ours, r *readings) error {
	return errors.Join(makeStaleTopic(ctx, w, b, r, "kafka"), makeStaleTopic(ctx, w, b, r, "error"))
}

func makeStaleTopic(ctx context.Context, w *workplace, b *ours, r *readings, mode string) error {
	const keys, tail, middle = 400, 10, 151
	topic := w.prefix + "-stale-" + mode
	s, err := newScribe(ctx, w.addr, topic, "cleanup.policy", "compact", "delete.retention.ms", "0", "keyframe.delta.retention.ms", "0")
	if err != nil {
		return err
	}
	defer s.cl.Close()
	put := func(i, round int) {
		value := fmt.Appendf(nil, "value-%d-%d-%s", i, round, strings.Repeat("x", 8000))
		s.put(fmt.Sprintf("key-%04d", i), value, "round", fmt.Sprint(round))
	}
	for i := range keys {
		put(i, 0)
	}
	for i := 3; i < keys; i += 10 {
		s.put(fmt.Sprintf("key-%04d", i), nil, "round", "deleted")
	}
	n1 := s.trimmedTo(ctx, b, func() {
		for i := range tail {
			put(i*10, 1)
		}
	})
	if s.err != nil {
		return s.err
	}
	var left []record // the tombstones are forgotten
	for _, one := range compacted(s.written, n1) {
		if one.Value != nil {
			left = append(left, one)
		}
	}
	if err := offsetsCome(ctx, w.addr, topic, left); err != nil {
		return err
	}
	responses, err := kadm.NewClient(s.cl).AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "keyframe.stale.fetch", Value: &mode}}, topic)
	if err == nil && len(responses) == 1 {
		err = responses[0].Err
	}
	if err != nil {
		return fmt.Errorf("set keyframe.stale.fetch of %s: %w", topic, err)
	}
	for _, from := range []int64{-1, n1} {
		if err := r.read(topic, from, left); err != nil {
			return err
		}
	}
	if mode == "error" {
		return r.outOfRange(topic, middle, left)
	}
	return r.read(topic, middle, left)
}
