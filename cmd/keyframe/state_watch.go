package main

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newStateWatchCommand() *cobra.Command {
	var (
		where     readPoint
		prefix    string
		fromStart bool
		exit      bool
	)
	cmd := &cobra.Command{
		Use:   "watch TOPIC",
		Short: "Print rows as they change: put, deleted, or expired",
		Long: `Prints every change of a row as it is folded: CHANGE, partition, offset, time, key and value, with tabs between them; with --format json
or jsonl {"change", "key", "value", "offset", "timestamp", "partition"}. A key that changes faster than it can be told comes once, as it is.
It ends with the broker, when it is interrupted, or where not even the word that nothing changed comes for half a minute; --exit ends it once the present is
told.

A key whose row the log start has passed (cleanup.policy=compact,delete) is expired. Where what was deleted, or has expired, is not stored any more by the
time it is to be told, every row there is comes again, and a line on stderr says so.`,
		Example: `  keyframe state watch users --prefix a
  keyframe state watch users --from-start --format jsonl`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if _, err := where.point(cmd); err != nil {
				return err
			}
			out, err := newChangePrinter(cmd, c)
			if err != nil {
				return err
			}
			partitions := 1
			if exit && where.onePartition() == nil {
				if partitions, err = partitionCount(cmd.Context(), stateClient(c), args[0]); err != nil {
					return stateError(c, err)
				}
			}
			ctx, alive := plane.Following(cmd.Context())
			stream, err := followClient(c).Watch(ctx, connect.NewRequest(&state.WatchRequest{
				Topic: args[0], Partition: where.onePartition(), Prefix: []byte(prefix), FromStart: fromStart,
			}))
			if err != nil {
				return stateError(c, err)
			}
			defer stream.Close()
			told := 0 // partitions whose present is
			begun := beginnings{fromStart: fromStart, known: map[int32]bool{}}
			for stream.Receive() {
				m := stream.Msg()
				alive(m.AliveMs)
				begun.tell(cmd.ErrOrStderr(), m.BeginsAnew)
				if err := out.changes(m.Changes); err != nil {
					return err
				}
				if told += len(m.CaughtUp); exit && told == partitions {
					return out.close()
				}
			}
			if err := stream.Err(); err != nil && cmd.Context().Err() == nil {
				return stateError(c, err)
			}
			return out.close()
		},
	}
	cmd.Flags().Int32Var(&where.partition, "partition", -1, "this partition only")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that start with this")
	cmd.Flags().BoolVar(&fromStart, "from-start", false, "begin with every row there is")
	cmd.Flags().BoolVarP(&exit, "exit", "e", false, "stop when the present is told instead of following")
	addSettings(cmd, "state-url", "format")
	return cmd
}

// beginnings knows which partitions are told from the start for the first time.
type beginnings struct {
	fromStart bool
	known     map[int32]bool
}

// tell says which partitions begin anew, but for those that nothing was told of.
func (b *beginnings) tell(out io.Writer, partitions []int32) {
	for _, p := range partitions {
		if !b.fromStart || b.known[p] {
			fmt.Fprintf(out, "partition %d: what was deleted or has expired meanwhile is not stored any more; "+
				"every row there is follows, and keys that are not among them are gone\n", p)
		}
		b.known[p] = true
	}
}

// partitionCount asks how many partitions the state plane has of a topic.
func partitionCount(ctx context.Context, client stateconnect.StateServiceClient, topic string) (int, error) {
	stream, err := client.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: topic}))
	if err != nil {
		return 0, err
	}
	defer stream.Close()
	n := 0
	for stream.Receive() {
		n += len(stream.Msg().Partitions)
	}
	return n, stream.Err()
}

// changePrinter prints changes as they come, as recordPrinter prints records.
type changePrinter struct {
	text *bufio.Writer
	out  *output
}

func newChangePrinter(cmd *cobra.Command, c *config) (*changePrinter, error) {
	if c.str("format") == "table" { // a stream has no column widths
		return &changePrinter{text: bufio.NewWriter(cmd.OutOrStdout())}, nil
	}
	out, err := newOutput(cmd, c, append([]string{"change"}, rowColumns()...)...)
	return &changePrinter{out: out}, err
}

func (p *changePrinter) changes(list []*state.Change) error {
	for _, c := range list {
		if err := p.change(c); err != nil {
			return err
		}
	}
	if p.text != nil {
		return p.text.Flush()
	}
	return p.out.flush()
}

func (p *changePrinter) change(c *state.Change) error {
	r, what, value := c.Row, "put", any(nonNil(c.Row.Value))
	if c.Deleted {
		what, value = "deleted", absent{}
	}
	if c.Expired {
		what = "expired"
	}
	if p.text != nil {
		_, err := fmt.Fprintf(p.text, "%s\t%d\t%d\t%s\t%s\t%s\n", what, r.Partition, r.Offset, timeText(r.TimestampMs), cell(nonNil(r.Key)), cell(value))
		return err
	}
	return p.out.row(what, nonNil(r.Key), value, r.Offset, timestamp(r.TimestampMs), r.Partition)
}

func (p *changePrinter) close() error {
	if p.text != nil {
		return p.text.Flush()
	}
	return p.out.close()
}
