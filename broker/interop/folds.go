package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

// makeFolds makes a topic of counters and one of JSON merge patches, trims them, and says what they add up to.
func makeFolds(ctx context.Context, w *workplace, b *ours, r *readings) error {
	return errors.Join(makeFold(ctx, w, b, r, "counter", writeCounters), makeFold(ctx, w, b, r, "json-merge-patch", writePatches))
}

func makeFold(ctx context.Context, w *workplace, b *ours, r *readings, fold string, write func(s *scribe) (rows map[string]row, tail func())) error {
	topic := w.prefix + "-" + fold
	s, err := newScribe(ctx, w.addr, topic, "cleanup.policy", "compact", "keyframe.delta.retention.ms", "0", "keyframe.fold", fold)
	if err != nil {
		return err
	}
	defer s.cl.Close()
	rows, tail := write(s)
	n1 := s.trimmedTo(ctx, b, tail)
	if s.err != nil {
		return s.err
	}
	all := compacted(s.written, n1)
	for i, one := range all {
		if one.Offset < n1 {
			all[i].Record = rows[string(one.Key)].of(one.Record)
		}
	}
	if err := offsetsCome(ctx, w.addr, topic, all); err != nil {
		return err
	}
	for _, from := range []int64{-1, n1 / 2, n1} {
		if err := r.read(topic, from, all); err != nil {
			return err
		}
	}
	return nil
}

// row is a key's folded value; nil: deleted.
type row struct{ value []byte }

// of is the record that a consumer gets for it in the place of the key's last delta: a full value that says so, behind the other headers.
func (v row) of(last *kgo.Record) *kgo.Record {
	r := *last
	r.Value, r.Headers = v.value, nil
	for _, h := range last.Headers {
		if h.Key != "keyframe.op" {
			r.Headers = append(r.Headers, h)
		}
	}
	op := "put"
	if v.value == nil {
		op = "delete"
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "keyframe.op", Value: []byte(op)})
	return &r
}

// writeCounters adds to sixty keys by turns. Some say add, as is not needed, some are put anew, some deleted.
func writeCounters(s *scribe) (map[string]row, func()) {
	const keys, rounds = 60, 5
	rows, sums := map[string]row{}, map[string]int64{}
	for round := range rounds {
		for i := range keys {
			key, n := fmt.Sprintf("count-%02d", i), int64((i-20)*(round+1))*1_000_000_007
			headers := []string{"round", strconv.Itoa(round)}
			value := []byte(strconv.FormatInt(n, 10))
			switch {
			case round == 3 && i%10 == 4:
				s.put(key, value, append(headers, "keyframe.op", "put")...)
				sums[key] = n
			case round == 4 && i%10 == 7:
				s.put(key, nil, headers...)
				rows[key] = row{}
				continue
			case i%3 == 0:
				s.put(key, value, append(headers, "keyframe.op", "add")...)
				sums[key] += n
			default:
				s.put(key, value, headers...)
				sums[key] += n
			}
			rows[key] = row{strconv.AppendInt(nil, sums[key], 10)}
		}
	}
	return rows, func() {
		for i := range 10 {
			s.put(fmt.Sprintf("count-%02d", i), []byte("1"), "round", "raw")
		}
	}
}

// writePatches changes documents member by member: some members go again, nested ones too, and some documents.
func writePatches(s *scribe) (map[string]row, func()) {
	const keys = 40
	rows := map[string]row{}
	for i := range keys {
		s.put(fmt.Sprintf("doc-%02d", i), fmt.Appendf(nil, `{"name":"doc %d","tags":["a","b"],"gone":1,"in":{"a":%d,"b":true}}`, i, i), "round", "0")
	}
	for i := range keys {
		s.put(fmt.Sprintf("doc-%02d", i), []byte(`{"gone":null,"in":{"b":null,"n":9007199254740993}}`), "round", "1")
		rows[fmt.Sprintf("doc-%02d", i)] = row{fmt.Appendf(nil, `{"in":{"a":%d,"n":9007199254740993},"name":"doc %d","tags":["a","b"]}`, i, i)}
	}
	for i := 0; i < keys; i += 4 {
		s.put(fmt.Sprintf("doc-%02d", i), []byte(`{"tags":["c"]}`), "round", "2", "keyframe.op", "merge")
		rows[fmt.Sprintf("doc-%02d", i)] = row{fmt.Appendf(nil, `{"in":{"a":%d,"n":9007199254740993},"name":"doc %d","tags":["c"]}`, i, i)}
	}
	for i := 1; i < keys; i += 8 {
		s.put(fmt.Sprintf("doc-%02d", i), nil, "round", "3")
		rows[fmt.Sprintf("doc-%02d", i)] = row{}
	}
	return rows, func() {
		for i := range 10 {
			s.put(fmt.Sprintf("doc-%02d", i), []byte(`{"name":"raw"}`), "round", "raw")
		}
	}
}
