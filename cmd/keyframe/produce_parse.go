package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/delta"
)

func (f produceFlags) parser() (func([]byte) (*kgo.Record, error), error) {
	if f.op != "" {
		if _, err := delta.ParseOp(f.op); err != nil {
			return nil, fmt.Errorf("--op %q: use put, delete, merge or add", f.op)
		}
	}
	switch f.input {
	case "text":
		return f.parseText, nil
	case "jsonl":
		return f.parseJSON, nil
	}
	return nil, fmt.Errorf("--input %q: use text or jsonl", f.input)
}

func (f produceFlags) parseText(line []byte) (*kgo.Record, error) {
	r := &kgo.Record{Partition: f.partition}
	text := string(line) // the scanner reuses its buffer
	if f.op == "delete" {
		r.Key = []byte(text)
	} else if key, value, ok := strings.Cut(text, f.separator); ok {
		r.Key, r.Value = []byte(key), []byte(value)
	} else {
		r.Value = []byte(text)
	}
	return r, f.setOp(r, f.op)
}

func (f produceFlags) parseJSON(line []byte) (*kgo.Record, error) {
	in, err := parseJSONRecord(line)
	if err != nil {
		return nil, err
	}
	r := &kgo.Record{Partition: f.partition}
	var keyErr, valueErr error
	r.Key, keyErr = eitherBytes("key", in.Key, in.KeyBase64)
	r.Value, valueErr = eitherBytes("value", in.Value, in.ValueBase64)
	if err := errors.Join(keyErr, valueErr); err != nil {
		return nil, err
	}
	for _, h := range in.Headers {
		value, err := eitherBytes("header value", h.Value, h.ValueBase64)
		if err != nil {
			return nil, err
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: value})
	}
	if in.Partition != nil && *in.Partition < 0 {
		return nil, fmt.Errorf("field \"partition\": partitions are numbered from 0, %d is none", *in.Partition)
	}
	if in.Partition != nil && f.partition < 0 {
		r.Partition = *in.Partition
	}
	if in.Timestamp != nil {
		r.Timestamp = time.UnixMilli(*in.Timestamp)
	}
	op := in.Op
	if op == "" {
		op = f.op
	}
	return r, f.setOp(r, op)
}

func (f produceFlags) setOp(r *kgo.Record, op string) error {
	if op == "" {
		return nil
	}
	if _, err := delta.ParseOp(op); err != nil {
		return err
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: delta.HeaderOp, Value: []byte(op)})
	return nil
}
