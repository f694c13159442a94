package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	compactionMax  = 90 * time.Second // Kafka's cleaner comes by every 15 s
	compactionLook = 100 * time.Millisecond
)

// trimmed waits until the beginning of the topic was compacted.
func trimmed(ctx context.Context, addr, topic string) error {
	return compactionComes(ctx, topic, func(ctx context.Context) (string, error) {
		first, err := offsetsOf(ctx, addr, topic, 0)
		if err != nil || first[0] > 0 {
			return "", err
		}
		return "the record at offset 0 is there", nil
	})
}

// offsetsCome waits until the offsets of the records are those that a topic gives. Whether the records are right is for the drivers to say.
func offsetsCome(ctx context.Context, addr, topic string, want []record) error {
	return compactionComes(ctx, topic, func(ctx context.Context) (string, error) {
		got, err := offsetsOf(ctx, addr, topic, want[len(want)-1].Offset)
		if err != nil || slices.EqualFunc(got, want, func(o int64, r record) bool { return o == r.Offset }) {
			return "", err
		}
		return fmt.Sprintf("%d records are left, not %d", len(got), len(want)), nil
	})
}

// compactionComes looks again and again, for nobody tells, until there is nothing that is missing. It ends with an error, or with what was
// missing last when the time is up.
func compactionComes(ctx context.Context, topic string, look func(context.Context) (missing string, err error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, compactionMax, fmt.Errorf("not within %s", compactionMax))
	defer cancel()
	again := time.NewTicker(compactionLook)
	defer again.Stop()
	last := "it was not read once"
	for {
		missing, err := look(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return fmt.Errorf("read %s: %w", topic, err)
		case err == nil && missing == "":
			return nil
		case err == nil:
			last = missing
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s was not compacted: %w: %s", topic, context.Cause(ctx), last)
		}
	}
}

// offsetsOf reads a topic from its log start to an offset, with it, or to the first record above.
func offsetsOf(ctx context.Context, addr, topic string, last int64) (offsets []int64, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	for len(offsets) == 0 || offsets[len(offsets)-1] < last {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) { offsets = append(offsets, r.Offset) })
	}
	return offsets, nil
}
