package suite

import (
	"context"
	"fmt"
	"slices"
	"time"
)

func transactions(ctx context.Context, r *run) error {
	topic, input, group := r.name("t"), r.name("input"), r.name("group")
	for _, name := range []string{topic, input} {
		if err := r.topic(ctx, name, 1, nil); err != nil {
			return err
		}
	}
	if err := r.send(ctx, ProducerConfig{}, numbered(input, 10, 1, now())); err != nil {
		return err
	}
	p, err := r.producer(ProducerConfig{TransactionalID: r.name("id")})
	if err != nil {
		return err
	}
	defer p.Close()
	reader, err := r.consumer(ConsumerConfig{Group: group, Topic: input})
	if err != nil {
		return err
	}
	defer reader.Close()
	if _, err := take(ctx, reader, 10); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	for _, step := range []struct {
		value   string
		commit  bool
		offsets int64
	}{{"committed", true, 4}, {"aborted", false, 9}, {"committed too", true, 7}, {"aborted too", false, 0}} {
		if err := p.Begin(); err != nil {
			return fmt.Errorf("begin: %w", err)
		}
		if err := p.Send(ctx, []Record{text(topic, step.value), text(topic, step.value)}); err != nil {
			return fmt.Errorf("send in a transaction: %w", err)
		}
		if step.offsets > 0 {
			if err := p.SendOffsets(ctx, reader, group, input, step.offsets); err != nil {
				return fmt.Errorf("offsets in a transaction: %w", err)
			}
		}
		if err := p.End(ctx, step.commit); err != nil {
			return fmt.Errorf("end (commit: %v): %w", step.commit, err)
		}
	}
	if err := isolation(ctx, r, topic, p); err != nil {
		return err
	}
	a, err := r.Admin(r.addr, r.id())
	if err != nil {
		return err
	}
	defer a.Close()
	offsets, err := a.GroupOffsets(ctx, group, input)
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	if offsets[0] != 7 {
		return fmt.Errorf("the group's offset is %d, the last committed transaction says 7", offsets[0])
	}
	return fenced(ctx, r, topic, p)
}

func text(topic, value string) Record {
	return Record{Topic: topic, Key: []byte("k"), Value: []byte(value), Time: now()}
}

func isolation(ctx context.Context, r *run, topic string, p Producer) error {
	committed, err := r.consumer(ConsumerConfig{Assign: starts(topic, 1, Earliest), ReadCommitted: true})
	if err != nil {
		return err
	}
	defer committed.Close()
	if err := expect(ctx, committed, "committed", "committed", "committed too", "committed too"); err != nil {
		return fmt.Errorf("read_committed: %w", err)
	}
	if err := p.Begin(); err != nil {
		return err
	}
	if err := p.Send(ctx, []Record{text(topic, "open")}); err != nil {
		return err
	}
	if err := r.send(ctx, ProducerConfig{}, []Record{text(topic, "behind it")}); err != nil {
		return err
	}
	if err := nothing(ctx, committed, 1500*time.Millisecond); err != nil {
		return fmt.Errorf("read_committed while a transaction is open: %w", err)
	}
	if err := p.End(ctx, true); err != nil {
		return err
	}
	if err := expect(ctx, committed, "open", "behind it"); err != nil {
		return fmt.Errorf("read_committed after the commit: %w", err)
	}
	all, err := r.consumer(ConsumerConfig{Assign: starts(topic, 1, Earliest)})
	if err != nil {
		return err
	}
	defer all.Close()
	err = expect(ctx, all, "committed", "committed", "aborted", "aborted", "committed too", "committed too", "aborted too", "aborted too", "open", "behind it")
	if err != nil {
		return fmt.Errorf("read_uncommitted: %w", err)
	}
	return nil
}

func expect(ctx context.Context, c Consumer, values ...string) error {
	got, err := take(ctx, c, len(values))
	came := make([]string, len(got))
	for i, g := range got {
		came[i] = string(g.Value)
	}
	if err == nil && !slices.Equal(came, values) {
		err = fmt.Errorf("%q came, not %q", came, values)
	}
	if err != nil {
		return fmt.Errorf("%w (%q)", err, came)
	}
	return nil
}

// fenced: a second producer takes the id over; what the first had open is aborted, and it can do no more.
func fenced(ctx context.Context, r *run, topic string, first Producer) error {
	if err := first.Begin(); err != nil {
		return err
	}
	if err := first.Send(ctx, []Record{text(topic, "of the old one")}); err != nil {
		return err
	}
	second, err := r.producer(ProducerConfig{TransactionalID: r.name("id")})
	if err != nil {
		return err
	}
	defer second.Close()
	if err := second.Begin(); err != nil {
		return fmt.Errorf("begin of the second producer: %w", err)
	}
	if err := second.Send(ctx, []Record{text(topic, "of the new one")}); err != nil {
		return fmt.Errorf("second producer: %w", err)
	}
	if err := second.End(ctx, true); err != nil {
		return fmt.Errorf("second producer: %w", err)
	}
	short, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := first.End(short, true); err == nil {
		return fmt.Errorf("the fenced producer committed")
	}
	c, err := r.consumer(ConsumerConfig{Assign: starts(topic, 1, Earliest), ReadCommitted: true})
	if err != nil {
		return err
	}
	defer c.Close()
	return expect(ctx, c, "committed", "committed", "committed too", "committed too", "open", "behind it", "of the new one")
}
