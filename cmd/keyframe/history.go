package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newHistoryCommand() *cobra.Command {
	var (
		where  readSpan
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "history TOPIC KEY",
		Short: "Print what happened to one key; the exit status is 1 if nothing did, 2 for trouble",
		Long: `Prints the row that a key had where the deltas begin that are left, and then each delta, oldest first: offset, time, operation, the delta
as it was produced, and behind => the row that it made where that is another text. A delta that the fold skipped stands there with the reason; those of
aborted transactions do not. A row that the log start has passed expires.`,
		Example: `  keyframe history users alice
  keyframe history users alice --from 2026-01-02T15:04:05Z --format jsonl`,
		Args:              arguments("TOPIC", "KEY"),
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			from, to, err := where.points(cmd)
			if err != nil {
				return err
			}
			print, err := newHistoryPrinter(cmd, c, asJSON)
			if err != nil {
				return err
			}
			request := &state.HistoryRequest{Topic: args[0], Partition: where.onePartition(), Key: []byte(args[1]), From: from, To: to}
			read, err := historyVersions(cmd.Context(), stateClient(c), request, print)
			if err != nil {
				return errors.Join(where.named(err, stateError(c, err)), print.close())
			}
			if err := print.close(); err != nil {
				return err
			}
			if print.versions == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "topic %s had no key %q from %s to %s, and no delta for it\n", args[0], args[1], pointText(read.From), pointText(read.To))
				return exitError(1)
			}
			return nil
		},
	}
	where.addFlags(cmd, " (default: the oldest delta that is left)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	addSettings(cmd, "state-url", "format")
	return cmd
}

// historyVersions streams a history to a printer, and returns between which points.
func historyVersions(ctx context.Context, client stateconnect.StateServiceClient, request *state.HistoryRequest, print *historyPrinter) (*state.HistoryResponse, error) {
	read := &state.HistoryResponse{}
	stream, err := client.History(ctx, connect.NewRequest(request))
	if err != nil {
		return read, err
	}
	defer stream.Close()
	for stream.Receive() {
		m := stream.Msg()
		if len(m.From) > 0 {
			read.From, read.To = m.From, m.To
			print.partitions = len(m.From) > 1
		}
		for _, v := range m.Versions {
			if err := print.version(v); err != nil {
				return read, err
			}
		}
	}
	return read, stream.Err()
}

// historyPrinter prints versions as they come: as lines, or in one of the JSON formats.
type historyPrinter struct {
	text       *bufio.Writer // or
	out        *output
	partitions bool // there are several: name them
	versions   int
}

func newHistoryPrinter(cmd *cobra.Command, c *config, asJSON bool) (*historyPrinter, error) {
	format := c.str("format")
	if asJSON {
		format = "jsonl"
	}
	if format == "table" { // a stream has no column widths
		return &historyPrinter{text: bufio.NewWriter(cmd.OutOrStdout())}, nil
	}
	out, err := newOutputIn(cmd, c, format, "offset", "timestamp", "partition", "op", "delta", "value", "rejected", "expired")
	return &historyPrinter{out: out}, err
}

func (p *historyPrinter) version(v *state.Version) error {
	p.versions++
	if p.out != nil {
		return p.out.row(v.Offset, unless(v.Expired, timestamp(v.TimestampMs)), v.Row.GetPartition(), unless(v.Op == "", v.Op),
			unless(v.Op == "" || v.Deleted && len(v.Delta) == 0, nonNil(v.Delta)), rowValue(v), unless(v.Rejected == "", v.Rejected), unless(!v.Expired, true))
	}
	if p.partitions {
		if _, err := fmt.Fprintf(p.text, "%3d ", v.Row.GetPartition()); err != nil {
			return err
		}
	}
	at := ""
	if !v.Expired {
		at = timeText(v.TimestampMs)
	}
	_, err := fmt.Fprintf(p.text, "%8d  %-24s  %s\n", v.Offset, at, versionText(v))
	return err
}

// unless is a value that a row of JSON may lack.
func unless(lacks bool, value any) any {
	if lacks {
		return absent{}
	}
	return value
}

// rowValue is the value of the row afterwards, null where there is none.
func rowValue(v *state.Version) []byte {
	if v.Deleted {
		return nil
	}
	return nonNil(v.Row.GetValue())
}

// versionText is what happened, and what the row is afterwards where that is not plain from it.
func versionText(v *state.Version) string {
	after := "no row"
	if !v.Deleted {
		after = shown(v.Row.GetValue())
	}
	switch {
	case v.Expired:
		return "expired"
	case v.Op == "":
		return fmt.Sprintf("%-6s  %s", "row", after)
	case v.Rejected != "":
		return fmt.Sprintf("%-6s  %s, rejected: %s", printable(v.Op), shown(v.Delta), v.Rejected)
	case v.Deleted && len(v.Delta) == 0:
		return printable(v.Op)
	case shown(v.Delta) == after:
		return fmt.Sprintf("%-6s  %s", printable(v.Op), after)
	}
	return fmt.Sprintf("%-6s  %s => %s", printable(v.Op), shown(v.Delta), after)
}

func (p *historyPrinter) close() error {
	if p.text != nil {
		return p.text.Flush()
	}
	return p.out.close()
}
