package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

// maxLineBytes bounds one line of input; a record cannot be larger than a request anyway.
const maxLineBytes = 64 << 20

// maxShownFailures is how many refused lines are named before the rest is only counted.
const maxShownFailures = 10

type produceFlags struct {
	input     string
	separator string
	op        string
	partition int32
}

func newProduceCommand() *cobra.Command {
	var flags produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Produce a record for every line of standard input",
		Long: `Text input: key and value with a tab between them (--separator); a line without one is a value without a key; with
--op delete a line is a key. JSON lines: {"key", "op", "value", "headers": [{"key", "value"}], "partition", "timestamp"}; bytes that are
not UTF-8 as key_base64 and value_base64; a missing or null value is a tombstone. The output of consume --format jsonl is valid input.

Every record is acknowledged by acks=all. A refused line is named, and the exit status is 1.`,
		Example: `  printf 'alice\tonline\nbob\taway\n' | keyframe produce users
  echo '{"key":"apples","op":"add","value":"3"}' | keyframe produce stock --input jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return produceLines(cmd, c, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.input, "input", "text", "text or jsonl")
	cmd.Flags().StringVar(&flags.separator, "separator", "\t", "what stands between key and value in text input")
	cmd.Flags().StringVar(&flags.op, "op", "", "keyframe.op of every record that names none: put, delete, merge or add")
	cmd.Flags().Int32Var(&flags.partition, "partition", -1, "produce to this partition (default: by key)")
	addSettings(cmd, "brokers")
	return cmd
}

func produceLines(cmd *cobra.Command, c *config, topic string, flags produceFlags) error {
	parse, err := flags.parser()
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(1 << 20), kgo.RecordPartitioner(partitionOrKey{kgo.StickyKeyPartitioner(nil)})}
	client, err := kafkaClient(cmd.Context(), c, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	refuse, err := deltaCheck(cmd.Context(), client, topic)
	if err != nil {
		return err
	}
	var failures produceFailures
	lines := 0
	in := bufio.NewScanner(cmd.InOrStdin())
	in.Buffer(make([]byte, 64<<10), maxLineBytes)
	for in.Scan() {
		lines++
		line := lines
		record, err := parse(in.Bytes())
		if err == nil {
			err = refuse(record)
		}
		if err != nil {
			failures.add(line, err)
			continue
		}
		client.Produce(cmd.Context(), record, func(_ *kgo.Record, err error) { failures.add(line, err) })
	}
	if err := client.Flush(cmd.Context()); err != nil {
		return err
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("line %d: %w", lines+1, err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d record(s) produced to %s\n", lines-failures.count, topic)
	return failures.report(cmd.ErrOrStderr(), topic)
}

// deltaCheck returns what a record of a key-framed topic has to pass: the broker refuses a whole batch for one bad record, and its answer
// does not reach the user in words.
func deltaCheck(ctx context.Context, client *kgo.Client, topic string) (func(*kgo.Record) error, error) {
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, err
	}
	values := configValues(configs, topic)
	if !strings.Contains(values["cleanup.policy"], "compact") {
		return func(*kgo.Record) error { return nil }, nil
	}
	kind, err := fold.ParseKind(values["keyframe.fold"])
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	return func(r *kgo.Record) error {
		headers := make([]batch.Header, len(r.Headers))
		for i, h := range r.Headers {
			headers[i] = batch.Header{Key: h.Key, Value: h.Value}
		}
		_, err := kind.Delta(r.Key, r.Value, batch.AppendHeaders(nil, headers...))
		return err
	}, nil
}

// produceFailures gathers what was refused; the client's callbacks come from its own goroutine.
type produceFailures struct {
	mu    sync.Mutex
	count int
	first []string
}

func (f *produceFailures) add(line int, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count++
	if len(f.first) < maxShownFailures {
		f.first = append(f.first, fmt.Sprintf("line %d: %v", line, err))
	}
}

func (f *produceFailures) report(w io.Writer, topic string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == 0 {
		return nil
	}
	fmt.Fprintln(w, strings.Join(f.first, "\n"))
	return fmt.Errorf("%d line(s) were not produced to %s", f.count, topic)
}

func (f produceFlags) parser() (func([]byte) (*kgo.Record, error), error) {
	if f.op != "" {
		if _, err := delta.ParseOp(f.op); err != nil {
			return nil, fmt.Errorf("--op: %w", err)
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

// partitionOrKey takes the record's own partition where it names one, else partitions by key as Kafka's clients do.
type partitionOrKey struct{ byKey kgo.Partitioner }

func (p partitionOrKey) ForTopic(topic string) kgo.TopicPartitioner {
	return &topicPartitioner{p.byKey.ForTopic(topic)}
}

type topicPartitioner struct{ kgo.TopicPartitioner }

func (p *topicPartitioner) Partition(r *kgo.Record, n int) int {
	if r.Partition >= 0 {
		return int(r.Partition)
	}
	return p.TopicPartitioner.Partition(r, n)
}

func (p *topicPartitioner) RequiresConsistency(r *kgo.Record) bool {
	return r.Partition >= 0 || p.TopicPartitioner.RequiresConsistency(r)
}
