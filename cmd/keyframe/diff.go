package main

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newDiffCommand() *cobra.Command {
	var (
		where  readSpan
		prefix string
		limit  int64
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "diff TOPIC --from POINT",
		Short: "Print the keys that differ between two points; the exit status is 1 if there are any",
		Long: `Prints, in key order, the keys whose rows differ between two points: + the key is new, - it is gone, ~ its value is another one,
which stands behind the former. Rows are compared by their values: a key that was written again as it was does not differ. --from may lie behind
--to. Points reach back to the oldest retained key frame.

The exit status is that of diff(1): 0 if nothing differs, 1 if something does, 2 for trouble.`,
		Example: `  keyframe diff users --from 1000
  keyframe diff users --from 2026-01-02T15:04:05Z --to 2026-01-02T16:00:00Z --prefix a --format jsonl`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			from, to, err := where.points(cmd)
			switch {
			case err != nil:
				return err
			case from == nil:
				return fmt.Errorf("--from is missing: name the point to compare with; keyframe frames list %s shows the oldest", args[0])
			case limit < 0:
				return fmt.Errorf("--limit %d: write a number of keys, or 0 for all", limit)
			}
			print, err := newDiffPrinter(cmd, c, args[0], asJSON)
			if err != nil {
				return err
			}
			request := &state.DiffRequest{
				Topic: args[0], Partition: where.onePartition(), From: from, To: to, Prefix: []byte(prefix), Limit: limit,
			}
			if err := diffRows(cmd.Context(), stateClient(c), request, print); err != nil {
				return errors.Join(stateError(c, err), print.close())
			}
			if err := print.close(); err != nil {
				return err
			}
			if print.keys() > 0 {
				fmt.Fprintln(cmd.ErrOrStderr(), print.summary())
				return exitError(1)
			}
			return nil
		},
	}
	where.addFlags(cmd, "")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that start with this")
	cmd.Flags().Int64VarP(&limit, "limit", "n", 0, "stop after this many keys (0: all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	addSettings(cmd, "state-url", "format")
	return cmd
}

// diffRows streams a difference to a printer.
func diffRows(ctx context.Context, client stateconnect.StateServiceClient, request *state.DiffRequest, print *diffPrinter) error {
	stream, err := client.Diff(ctx, connect.NewRequest(request))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		m := stream.Msg()
		if len(m.From) > 0 {
			print.between(m.From, m.To)
		}
		for _, row := range m.Rows {
			if err := print.row(row); err != nil {
				return err
			}
		}
		print.more = m.Next != nil
	}
	return stream.Err()
}
