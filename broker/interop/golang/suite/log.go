package suite

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

func produce(ctx context.Context, r *run) error {
	topic := r.name("t")
	if err := r.topic(ctx, topic, 3, nil); err != nil {
		return err
	}
	records := numbered(topic, 300, 3, now())
	if err := r.send(ctx, ProducerConfig{}, records); err != nil {
		return err
	}
	if records[0].Offset == -1 {
		r.note("the client does not tell offsets")
		return nil
	}
	for i, rec := range records {
		if rec.Offset != int64(i/3) {
			return fmt.Errorf("record %d of partition %d was acknowledged with offset %d", i/3, rec.Partition, rec.Offset)
		}
	}
	return nil
}

func consume(ctx context.Context, r *run) error {
	topic, from := r.name("t"), now().Add(-time.Hour)
	if err := r.topic(ctx, topic, 2, nil); err != nil {
		return err
	}
	sent := numbered(topic, 400, 2, from)
	if err := r.send(ctx, ProducerConfig{}, sent); err != nil {
		return err
	}
	if err := fromBeginning(ctx, r, topic, sent); err != nil {
		return fmt.Errorf("from the beginning: %w", err)
	}
	if err := fromMiddle(ctx, r, topic); err != nil {
		return fmt.Errorf("from offset 150: %w", err)
	}
	if err := fromEnd(ctx, r, topic); err != nil {
		return fmt.Errorf("from the end: %w", err)
	}
	a, err := r.Admin(r.addr, r.id())
	if err != nil {
		return err
	}
	defer a.Close()
	for _, want := range []struct{ timestamp, offset int64 }{
		{Earliest, 0}, {Latest, 200}, {from.UnixMilli(), 0}, {from.UnixMilli() + 200, 100}, {from.UnixMilli() + 199, 100},
	} {
		offset, err := a.OffsetFor(ctx, topic, 0, want.timestamp)
		if err != nil {
			return fmt.Errorf("offset for %d: %w", want.timestamp, err)
		}
		if offset != want.offset {
			return fmt.Errorf("offset for %d is %d, not %d", want.timestamp, offset, want.offset)
		}
	}
	return nil
}

func fromBeginning(ctx context.Context, r *run, topic string, sent []Record) error {
	c, err := r.consumer(ConsumerConfig{Assign: starts(topic, 2, Earliest)})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := take(ctx, c, len(sent))
	if err != nil {
		return err
	}
	if err := inOrder(sent, got); err != nil {
		return err
	}
	for _, g := range got {
		if want := sent[int(g.Offset)*2+int(g.Partition)]; !want.Time.Equal(g.Time) {
			return fmt.Errorf("offset %d has timestamp %d, not %d", g.Offset, g.Time.UnixMilli(), want.Time.UnixMilli())
		}
	}
	return nil
}

func fromMiddle(ctx context.Context, r *run, topic string) error {
	c, err := r.consumer(ConsumerConfig{Assign: []Start{{Topic: topic, Offset: 150}}})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := take(ctx, c, 50)
	if err != nil {
		return err
	}
	if got[0].Offset != 150 || len(got) != 50 {
		return fmt.Errorf("%d records from offset %d", len(got), got[0].Offset)
	}
	return nil
}

func fromEnd(ctx context.Context, r *run, topic string) error {
	c, err := r.consumer(ConsumerConfig{Assign: []Start{{Topic: topic, Partition: 1, Offset: Latest}}})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := nothing(ctx, c, 1500*time.Millisecond); err != nil {
		return err
	}
	late := Record{Topic: topic, Partition: 1, Key: []byte("late"), Value: []byte("late"), Time: now()}
	if err := r.send(ctx, ProducerConfig{}, []Record{late}); err != nil {
		return err
	}
	got, err := take(ctx, c, 1)
	if err != nil {
		return err
	}
	if got[0].Offset != 200 || string(got[0].Value) != "late" {
		return fmt.Errorf("offset %d came first: %q", got[0].Offset, got[0].Value)
	}
	return nil
}

func codecs(ctx context.Context, r *run) error {
	topic := r.name("t")
	if err := r.topic(ctx, topic, 1, nil); err != nil {
		return err
	}
	var sent []Record
	var has []string
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		records := numbered(topic, 50, 1, now())
		for i := range records {
			records[i].Value = []byte(strings.Repeat(fmt.Sprintf("%s %d ", codec, i), 100))
		}
		if err := r.send(ctx, ProducerConfig{Codec: codec}, records); err != nil {
			return fmt.Errorf("%s: %w", codec, err)
		}
		sent, has = append(sent, records...), append(has, codec)
	}
	c, err := r.consumer(ConsumerConfig{Assign: starts(topic, 1, Earliest)})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := take(ctx, c, len(sent))
	if err != nil {
		return err
	}
	r.note("%s", strings.Join(has, " "))
	return inOrder(sent, got)
}

func headers(ctx context.Context, r *run) error {
	topic := r.name("t")
	if err := r.topic(ctx, topic, 1, nil); err != nil {
		return err
	}
	sent := []Record{
		{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"a", []byte("1")}, {"b", []byte{0, 255}}, {"a", []byte("2")}}},
		{Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"empty", []byte{}}, {"null", nil}}},
		{Key: nil, Value: []byte("no key")},
		{Key: []byte("no value"), Value: nil},
		{Key: []byte{}, Value: []byte{}},
	}
	for i := range sent {
		sent[i].Topic, sent[i].Time = topic, now()
	}
	if err := r.send(ctx, ProducerConfig{}, sent); err != nil {
		return err
	}
	c, err := r.consumer(ConsumerConfig{Assign: starts(topic, 1, Earliest)})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := take(ctx, c, len(sent))
	if err != nil {
		return err
	}
	nulls := false // does the client tell null from empty?
	for _, g := range got {
		nulls = nulls || g.Value == nil && string(g.Key) == "no value"
	}
	if !nulls {
		return fmt.Errorf("a null value came back as an empty one")
	}
	for i, g := range got {
		s := sent[i]
		if !bytes.Equal(s.Key, g.Key) || !bytes.Equal(s.Value, g.Value) {
			return fmt.Errorf("record %d: key %q, value %q", i, g.Key, g.Value)
		}
		if (s.Key == nil) != (g.Key == nil) || (s.Value == nil) != (g.Value == nil) {
			r.note("record %d: the client makes no difference between null and empty", i)
		}
		same := slices.EqualFunc(s.Headers, g.Headers, func(a, b Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) })
		if !same {
			return fmt.Errorf("record %d: headers %v came, %v were sent", i, g.Headers, s.Headers)
		}
	}
	return nil
}

func idempotence(ctx context.Context, r *run) error {
	topic := r.name("t")
	if err := r.topic(ctx, topic, 3, nil); err != nil {
		return err
	}
	sent := numbered(topic, 3000, 3, now())
	if err := r.send(ctx, ProducerConfig{Idempotent: true, BatchBytesMax: 4096}, sent); err != nil {
		return err
	}
	c, err := r.consumer(ConsumerConfig{Assign: starts(topic, 3, Earliest)})
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := take(ctx, c, len(sent))
	if err != nil {
		return err
	}
	return inOrder(sent, got)
}
