package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
)

// makeLogStart makes a topic that is compacted and deletes, and moves its log start over rows, to an offset whose record is one no more.
func makeLogStart(ctx context.Context, w *workplace, b *ours, r *readings) error {
	const keys, tail, start = 600, 20, 1000 // start: of key 400 in round 1
	topic := w.prefix + "-log-start"
	configs := []string{"cleanup.policy", "compact,delete", "retention.ms", "-1", "min.cleanable.dirty.ratio", "0.01", "segment.bytes", "1048576"}
	if b != nil {
		configs = append(configs, "keyframe.delta.retention.ms", "0")
	}
	s, err := newScribe(ctx, w.addr, topic, configs...)
	if err != nil {
		return err
	}
	defer s.cl.Close()
	put := func(i, round int) {
		value := fmt.Appendf(nil, "value-%d-%d-%s", i, round, strings.Repeat("x", 2000))
		s.put(fmt.Sprintf("key-%04d", i), value, "round", fmt.Sprint(round))
	}
	for round := range 2 {
		for i := range keys {
			put(i, round)
		}
	}
	for i := 0; i < keys; i += 2 {
		put(i, 2)
	}
	for i := 3; i < keys; i += 10 {
		s.put(fmt.Sprintf("key-%04d", i), nil, "round", "deleted")
	}
	n1 := s.trimmedTo(ctx, b, func() {
		for i := range tail {
			put(i*7, 3)
		}
	})
	if s.err != nil {
		return s.err
	}
	all := compacted(s.written, n1)
	if b != nil {
		err = offsetsCome(ctx, w.addr, topic, all)
	} else {
		all = compactedSometime(s.written)
		err = trimmed(ctx, w.addr, topic)
	}
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, 0, start, -1)
	responses, err := kadm.NewClient(s.cl).DeleteRecords(ctx, offsets)
	if err == nil {
		err = responses.Error()
	}
	if err != nil {
		return fmt.Errorf("delete records of %s: %w", topic, err)
	}
	all = above(all, start)
	r.earliest(topic, start)
	for _, from := range []int64{-1, start, start + 150} {
		if err := r.read(topic, from, all); err != nil {
			return err
		}
	}
	for _, from := range []int64{0, start - 1} {
		if err := r.outOfRange(topic, from, all); err != nil {
			return err
		}
	}
	return nil
}
