package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type consumeFlags struct {
	from      string
	exit      bool
	timeout   time.Duration
	limit     int
	partition int32
	group     string
	isolation string
}

const (
	readUncommitted = "read_uncommitted"
	readCommitted   = "read_committed"
)

func newConsumeCommand() *cobra.Command {
	var flags consumeFlags
	cmd := &cobra.Command{
		Use:   "consume TOPIC",
		Short: "Print records from an offset, a time, the earliest or the latest",
		Long: `Prints partition, offset, time, key and value of every record, separated by tabs, with what is no graphic character written as \n
or \x1b; with --format json or jsonl {"key", "value", "offset", "timestamp", "partition"}, bytes that are not UTF-8 as key_base64 and
value_base64, everything else exactly.

It follows the topic until it is interrupted; --exit ends it at the end that the topic has at the start, and fails if that cannot be
reached. With --group it starts where the group is, and commits what it has printed.

Records of transactions that were aborted, or are not decided yet, are printed like the others, as Kafka's own tools do. With
--isolation-level read_committed they are not, and the end is before the oldest open transaction.`,
		Example: `  keyframe consume users --exit
  keyframe consume users --from 2026-01-02T15:04:05Z --format jsonl
  keyframe consume users --exit --isolation-level read_committed`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := flags.check(cmd); err != nil {
				return err
			}
			return consumeTopic(cmd, c, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.from, "from", "earliest", "earliest, latest, an offset, or a time (RFC 3339); with --group: where the group has no offset")
	cmd.Flags().BoolVarP(&flags.exit, "exit", "e", false, "stop at the end instead of following")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 30*time.Second, "with --exit: fail when nothing came for this long before the end")
	cmd.Flags().IntVarP(&flags.limit, "limit", "n", 0, "stop after this many records (0: no limit)")
	cmd.Flags().Int32Var(&flags.partition, "partition", -1, "this partition only")
	cmd.Flags().StringVar(&flags.group, "group", "", "consume as a member of this group and commit offsets")
	cmd.Flags().StringVar(&flags.isolation, "isolation-level", readUncommitted, "read_uncommitted or read_committed")
	completeFlag(cmd, "from", "earliest", "latest")
	completeFlag(cmd, "isolation-level", readUncommitted, readCommitted)
	addSettings(cmd, "brokers", "format")
	return cmd
}

func (f consumeFlags) check(cmd *cobra.Command) error {
	switch {
	case f.group != "" && f.partition >= 0:
		return errors.New("--group and --partition exclude each other: the group assigns the partitions; leave one of them out")
	case f.partition < -1 || f.partition < 0 && cmd.Flags().Changed("partition"):
		return fmt.Errorf("--partition %d: partitions are numbered from 0", f.partition)
	case f.limit < 0:
		return fmt.Errorf("--limit %d: write a number of records, or 0 for all", f.limit)
	case f.timeout <= 0:
		return fmt.Errorf("--timeout %s: it must be longer than nothing", f.timeout)
	case f.isolation != readUncommitted && f.isolation != readCommitted:
		return fmt.Errorf("--isolation-level %q: write %s or %s", f.isolation, readUncommitted, readCommitted)
	}
	return nil
}

func consumeTopic(cmd *cobra.Command, c *config, topic string, flags consumeFlags) (err error) {
	start, err := parseStart(flags.from)
	if err != nil {
		return err
	}
	var parts map[int32]span
	if err := withAdmin(cmd.Context(), c, func(admin *kadm.Client) error {
		parts, err = planSpans(cmd.Context(), admin, topic, start, flags)
		return err
	}); err != nil {
		return err
	}
	printer, err := newRecordPrinter(cmd, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, printer.close()) }()
	ends := remainingEnds(parts)
	if flags.exit && len(ends) == 0 {
		return nil
	}
	follow := &consumption{topic: topic, flags: flags, printer: printer, parts: parts, ends: ends, warnings: cmd.ErrOrStderr()}
	opts := consumeOptions(topic, start, parts, flags)
	if flags.group != "" {
		follow.commits = &commitWatch{group: flags.group, warnings: cmd.ErrOrStderr()}
		opts = append(opts, kgo.AutoCommitCallback(follow.commits.done))
	}
	if follow.client, err = kafkaClient(cmd.Context(), c, opts...); err != nil {
		return err
	}
	defer follow.client.Close()
	err = follow.run(cmd.Context())
	if errors.Is(err, context.Canceled) && cmd.Context().Err() != nil && !flags.exit {
		err = nil // interrupted: the normal way to end following
	}
	return errors.Join(err, follow.commit(cmd.Context()))
}

// consumeOptions keep control records, because they move the position too, and errors that the client would retry in silence.
func consumeOptions(topic string, start startPoint, parts map[int32]span, flags consumeFlags) []kgo.Opt {
	opts := []kgo.Opt{kgo.FetchMaxWait(500 * time.Millisecond), kgo.KeepControlRecords(), kgo.KeepRetryableFetchErrors()}
	if flags.isolation == readCommitted {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	if flags.group != "" {
		return append(opts, kgo.ConsumerGroup(flags.group), kgo.AutoCommitMarks(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(start.offset()))
	}
	assigned := map[int32]kgo.Offset{}
	for no, p := range parts {
		assigned[no] = kgo.NewOffset().At(p.next)
	}
	return append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: assigned}), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
}

// remainingEnds are the partitions that --exit has to wait for.
func remainingEnds(parts map[int32]span) map[int32]int64 {
	ends := map[int32]int64{}
	for no, p := range parts {
		if p.next < p.end {
			ends[no] = p.end
		}
	}
	return ends
}

// behind says in words which partitions have not reached their end.
func behind(parts map[int32]span, ends map[int32]int64) string {
	var numbers []int32
	for no := range ends {
		numbers = append(numbers, no)
	}
	slices.Sort(numbers)
	text := ""
	for i, no := range numbers {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("partition %d at %d of %d", no, parts[no].next, ends[no])
	}
	return text
}
