package suite

import (
	"context"
	"fmt"
	"time"
)

// topic creates one and waits until it is told everywhere.
func (r *run) topic(ctx context.Context, name string, partitions int, configs map[string]string) error {
	a, err := r.Admin(r.addr, r.id())
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.CreateTopic(ctx, name, partitions, configs); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	return until(ctx, "the topic is listed", func() (bool, error) {
		all, err := a.Topics(ctx)
		return all[name] == partitions, err
	})
}

// until asks again and again; an error counts only when the time is up.
func until(ctx context.Context, what string, ready func() (bool, error)) error {
	return within(ctx, 20*time.Second, what, ready)
}

func within(ctx context.Context, limit time.Duration, what string, ready func() (bool, error)) error {
	deadline := time.Now().Add(limit)
	for {
		ok, err := ready()
		if ok && err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			if err != nil {
				return fmt.Errorf("never: %s: %w", what, err)
			}
			return fmt.Errorf("never: %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// send uses a producer for these records alone.
func (r *run) send(ctx context.Context, c ProducerConfig, records []Record) error {
	p, err := r.producer(c)
	if err != nil {
		return err
	}
	if err := p.Send(ctx, records); err != nil {
		_ = p.Close()
		return fmt.Errorf("send: %w", err)
	}
	return p.Close()
}

// take polls until n records have come.
func take(ctx context.Context, c Consumer, n int) ([]Record, error) {
	var all []Record
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(all) < n {
		if ctx.Err() != nil {
			return all, fmt.Errorf("%d of %d records came within 30 s", len(all), n)
		}
		got, err := c.Poll(ctx)
		if err != nil && ctx.Err() == nil {
			return all, fmt.Errorf("poll: %w", err)
		}
		all = append(all, got...)
	}
	return all, nil
}

// nothing comes for a while.
func nothing(ctx context.Context, c Consumer, for_ time.Duration) error {
	for deadline := time.Now().Add(for_); time.Now().Before(deadline); {
		got, err := c.Poll(ctx)
		if err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		if len(got) > 0 {
			return fmt.Errorf("offset %d came (%q), where nothing should", got[0].Offset, got[0].Value)
		}
	}
	return nil
}

// numbered makes n records over the partitions in turn: values 0 to n-1, one millisecond apart.
func numbered(topic string, n, partitions int, from time.Time) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{Topic: topic, Partition: int32(i % partitions), Offset: -1,
			Key: fmt.Appendf(nil, "key-%d", i), Value: fmt.Appendf(nil, "value-%d", i), Time: from.Add(time.Duration(i) * time.Millisecond)}
	}
	return records
}

func now() time.Time { return time.UnixMilli(time.Now().UnixMilli()) }

// starts of every partition at one special offset.
func starts(topic string, partitions int, offset int64) []Start {
	all := make([]Start, partitions)
	for p := range all {
		all[p] = Start{Topic: topic, Partition: int32(p), Offset: offset}
	}
	return all
}

// inOrder checks that each partition's values are those that were sent to it, once and in order.
func inOrder(sent, got []Record) error {
	want := map[int32][]Record{}
	for _, s := range sent {
		want[s.Partition] = append(want[s.Partition], s)
	}
	for _, g := range got {
		rest := want[g.Partition]
		if len(rest) == 0 {
			return fmt.Errorf("partition %d offset %d: %q came beyond what was sent", g.Partition, g.Offset, g.Value)
		}
		if string(rest[0].Value) != string(g.Value) || string(rest[0].Key) != string(g.Key) {
			return fmt.Errorf("partition %d offset %d: %q came, %q was sent", g.Partition, g.Offset, g.Value, rest[0].Value)
		}
		want[g.Partition] = rest[1:]
	}
	for p, rest := range want {
		if len(rest) > 0 {
			return fmt.Errorf("partition %d: %d records did not come", p, len(rest))
		}
	}
	return nil
}
