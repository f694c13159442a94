package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLineBytes bounds one line of input; a record cannot be larger than a request anyway.
const maxLineBytes = 64 << 20

type produceFlags struct {
	input     string
	separator string
	op        string
	partition int32
	timeout   time.Duration
}

func newProduceCommand() *cobra.Command {
	var flags produceFlags
	cmd := &cobra.Command{
		Use:   "produce TOPIC",
		Short: "Produce a record for every line of standard input",
		Long: `Text input: key and value with a tab between them (--separator); a line without one is a value without a key; with
--op delete a line is a key. A line ends with a newline alone: a carriage return before it belongs to the value. JSON lines: {"key",
"op", "value", "headers": [{"key", "value"}], "partition", "timestamp"}; bytes that are not UTF-8 as key_base64 and value_base64; a
missing or null value is a tombstone. The output of consume --format jsonl is valid input.

Every record is acknowledged by acks=all. Refused lines are named, ten of them at most, the others are produced, and the exit status is 1.`,
		Example: `  printf 'alice\tonline\nbob\taway\n' | keyframe produce users
  echo '{"key":"apples","op":"add","value":"3"}' | keyframe produce stock --input jsonl`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
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
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 30*time.Second, "give up when nothing was acknowledged for this long")
	completeFlag(cmd, "input", "text", "jsonl")
	completeFlag(cmd, "op", opNames()...)
	addSettings(cmd, "brokers")
	return cmd
}

func (f produceFlags) check(cmd *cobra.Command) error {
	switch {
	case f.partition < 0 && cmd.Flags().Changed("partition"):
		return fmt.Errorf("--partition %d: partitions are numbered from 0", f.partition)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %s: it must be longer than nothing", f.timeout)
	}
	return nil
}

func produceLines(cmd *cobra.Command, c *config, topic string, flags produceFlags) error {
	if err := flags.check(cmd); err != nil {
		return err
	}
	parse, err := flags.parser()
	if err != nil {
		return err
	}
	values, err := producedTo(cmd.Context(), c, topic)
	if err != nil {
		return err
	}
	refuse, err := recordCheck(topic, values)
	if err != nil {
		return err
	}
	to, err := connectProducing(cmd.Context(), c, topic, values)
	if err != nil {
		return err
	}
	defer to.close()
	sent := newDeliveries(cmd.Context(), topic, flags.timeout, cmd.ErrOrStderr())
	defer sent.stop()
	in := bufio.NewScanner(cmd.InOrStdin())
	in.Buffer(make([]byte, 64<<10), maxLineBytes)
	in.Split(wholeLines)
	lines := 0
	for sent.ctx.Err() == nil && in.Scan() {
		lines++
		line := lines
		record, err := parse(in.Bytes())
		if err == nil {
			err = refuse(record)
		}
		sent.begin()
		if err != nil {
			sent.end(line, err)
			continue
		}
		to.produce(sent.ctx, record, func(_ *kgo.Record, err error) { sent.end(line, err) })
	}
	_ = to.Flush(sent.ctx) // it fails only with the context: then what is missing is counted
	if err := cmd.Context().Err(); err != nil {
		sent.interrupted()
		return err
	}
	return errors.Join(sent.report(), inputError(in.Err(), lines+1))
}

// wholeLines splits at newlines and keeps carriage returns, which bufio.ScanLines takes away: they may be data.
func wholeLines(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func inputError(err error, line int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("line %d is longer than %s: this line and those after it were not produced", line, byteSize(maxLineBytes))
	}
	return fmt.Errorf("line %d cannot be read: %w", line, err)
}
