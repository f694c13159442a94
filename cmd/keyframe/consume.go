package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	from      string
	exit      bool
	limit     int
	partition int32
	group     string
}

func newConsumeCommand() *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print records from an offset, a time, the earliest or the latest",
		Long: `Prints partition, offset, time, key and value of every record, separated by tabs; with --format json or jsonl
{"key", "value", "offset", "timestamp", "partition"}, bytes that are not UTF-8 as key_base64 and value_base64.

It follows the topic until it is interrupted; --exit ends it at the end that the topic has at the start.`,
		Example: `  keyframe consume users --exit
  keyframe consume users --from 2026-01-02T15:04:05Z --format jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return consumeTopic(cmd, c, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.from, "from", "earliest", "earliest, latest, an offset, or a time (RFC 3339)")
	cmd.Flags().BoolVarP(&flags.exit, "exit", "e", false, "stop at the end instead of following")
	cmd.Flags().IntVarP(&flags.limit, "limit", "n", 0, "stop after this many records (0: no limit)")
	cmd.Flags().Int32Var(&flags.partition, "partition", -1, "this partition only")
	cmd.Flags().StringVar(&flags.group, "group", "", "consume as a member of this group and commit offsets")
	addSettings(cmd, "brokers", "format")
	return cmd
}

func consumeTopic(cmd *cobra.Command, c *config, topic string, flags consumeFlags) error {
	start, err := startOffset(flags.from)
	if err != nil {
		return err
	}
	var ends kadm.ListedOffsets
	if err := withAdmin(cmd.Context(), c, func(admin *kadm.Client) error {
		ends, err = admin.ListEndOffsets(cmd.Context(), topic)
		return errors.Join(err, ends.Error())
	}); err != nil {
		return topicError("consume", topic, err, "")
	}
	opts := []kgo.Opt{kgo.FetchMaxWait(500 * time.Millisecond)}
	switch {
	case flags.group != "":
		opts = append(opts, kgo.ConsumerGroup(flags.group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start))
	default:
		assigned := map[int32]kgo.Offset{}
		for p := range ends[topic] {
			if flags.partition < 0 || p == flags.partition {
				assigned[p] = start
			}
		}
		if len(assigned) == 0 {
			return fmt.Errorf("topic %s has no partition %d", topic, flags.partition)
		}
		opts = append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	}
	client, err := kafkaClient(cmd.Context(), c, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	printer, err := newRecordPrinter(cmd, c)
	if err != nil {
		return err
	}
	err = pollRecords(cmd.Context(), client, flags, remainingEnds(ends[topic], flags), printer)
	if errors.Is(err, context.Canceled) {
		err = nil // interrupted: the normal way to end following
	}
	return errors.Join(err, printer.close())
}

// remainingEnds is where each partition ends for --exit; a partition without anything to wait for is left out.
func remainingEnds(ends map[int32]kadm.ListedOffset, flags consumeFlags) map[int32]int64 {
	remaining := map[int32]int64{}
	for p, end := range ends {
		if flags.exit && end.Offset > 0 && (flags.partition < 0 || p == flags.partition) {
			remaining[p] = end.Offset
		}
	}
	return remaining
}

// pollRecords prints until the context ends, the limit is reached or, with --exit, every end is passed.
func pollRecords(ctx context.Context, client *kgo.Client, flags consumeFlags, ends map[int32]int64, printer *recordPrinter) error {
	printed := 0
	quiet := 0
	for !flags.exit || len(ends) > 0 {
		pollCtx, cancel := ctx, context.CancelFunc(func() {})
		if flags.exit {
			pollCtx, cancel = context.WithTimeout(ctx, 2*time.Second)
		}
		fetches := client.PollFetches(pollCtx)
		cancel()
		if err := fetches.Err0(); err != nil && ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if err := printer.record(r); err != nil {
				return err
			}
			if printed++; printed == flags.limit {
				return nil
			}
			if end, ok := ends[r.Partition]; ok && r.Offset+1 >= end {
				delete(ends, r.Partition)
			}
		}
		if err := printer.flush(); err != nil {
			return err
		}
		// The last offsets of a partition may be a start beyond the end (latest) or markers that no client delivers.
		if quiet++; fetches.NumRecords() > 0 {
			quiet = 0
		}
		if flags.exit && quiet == 2 {
			return nil
		}
	}
	return nil
}

func startOffset(from string) (kgo.Offset, error) {
	switch from {
	case "earliest":
		return kgo.NewOffset().AtStart(), nil
	case "latest":
		return kgo.NewOffset().AtEnd(), nil
	}
	if n, err := strconv.ParseInt(from, 10, 64); err == nil && n >= 0 {
		return kgo.NewOffset().At(n), nil
	}
	if at, err := time.Parse(time.RFC3339, from); err == nil {
		return kgo.NewOffset().AfterMilli(at.UnixMilli()), nil
	}
	return kgo.Offset{}, fmt.Errorf("--from %q: write earliest, latest, an offset, or a time as 2026-01-02T15:04:05Z", from)
}
