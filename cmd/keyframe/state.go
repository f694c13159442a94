package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newStateCommand() *cobra.Command {
	cmd := group("state", "Read the folded state of a key-framed topic, now or at any offset or time",
		newStateGetCommand(), newStateScanCommand(), newStateWatchCommand(), newStateExportCommand(),
		newDiffCommand(), newHistoryCommand())
	cmd.Long = cmd.Short + ".\n\nkeyframe diff and keyframe history are short for keyframe state diff and keyframe state history.\n\n" +
		"A time names what the broker had appended by then, by its clock: the timestamps that rows and versions are printed with are the records' own."
	return cmd
}

// stateClient is the state plane of the settings.
func stateClient(c *config) stateconnect.StateServiceClient {
	return stateconnect.NewStateServiceClient(http.DefaultClient, strings.TrimRight(c.str("state-url"), "/"))
}

// followClient is stateClient for streams without an end, whose calls are plane.Following's.
func followClient(c *config) stateconnect.StateServiceClient {
	client := &http.Client{Transport: plane.Watched(nil, followSilence)}
	return stateconnect.NewStateServiceClient(client, strings.TrimRight(c.str("state-url"), "/"))
}

// followSilence is how long a stream without an end may take to begin.
const followSilence = time.Minute

// stateError says which state plane was asked, and keeps the server's own words.
func stateError(c *config, err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	if errors.Is(err, plane.ErrSilent) {
		return fmt.Errorf("the state plane at %s (%s): %w", c.str("state-url"), c.source("state-url"), err)
	}
	switch e.Code() {
	case connect.CodeCanceled: // by whom?
		if errors.Is(e, context.Canceled) {
			return context.Canceled
		}
		return fmt.Errorf("the state plane at %s ended the call: %s", c.str("state-url"), e.Message())
	case connect.CodeUnavailable, connect.CodeUnimplemented, connect.CodeUnknown, connect.CodeDeadlineExceeded: // is it one at all?
		return fmt.Errorf("the state plane at %s (%s): %w", c.str("state-url"), c.source("state-url"), e)
	}
	return errors.New(e.Message())
}

// rowPrinter prints rows in the one form that all commands share.
func rowPrinter(cmd *cobra.Command, c *config) (out *output, print func(*state.Row) error, err error) {
	if out, err = newOutput(cmd, c, append(rowColumns(), "headers")...); err != nil {
		return nil, nil, err
	}
	return out, func(r *state.Row) error {
		headers := any(absent{})
		if len(r.Headers) > 0 {
			list := make([]headerRow, len(r.Headers))
			for i, h := range r.Headers {
				list[i] = headerRow{h.Key, h.Value}
			}
			headers = list
		}
		return out.row(nonNil(r.Key), nonNil(r.Value), r.Offset, timestamp(r.TimestampMs), r.Partition, headers)
	}, nil
}

// nonNil undoes what protobuf does to empty bytes: a row always has a key and a value.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

func newStateGetCommand() *cobra.Command {
	var where readPoint
	cmd := &cobra.Command{
		Use:               "get TOPIC KEY",
		Short:             "Print the row of one key; the exit status is 1 if there is none, 2 for trouble",
		Args:              arguments("TOPIC", "KEY"),
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point(cmd)
			if err != nil {
				return err
			}
			answer, err := stateClient(c).Get(cmd.Context(), connect.NewRequest(&state.GetRequest{
				Topic: args[0], Key: []byte(args[1]), Partition: where.onePartition(), At: at, Folded: where.folded,
			}))
			if err != nil {
				return stateError(c, err)
			}
			out, print, err := rowPrinter(cmd, c)
			if err != nil {
				return err
			}
			for _, row := range answer.Msg.Rows {
				if err := print(row); err != nil {
					return err
				}
			}
			if len(answer.Msg.Rows) == 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "topic %s has no key %q\n", args[0], args[1])
				return exitError(1)
			}
			return out.close()
		},
	}
	where.addFlags(cmd)
	cmd.Flags().BoolVar(&where.folded, "folded", false, "read the last fold without waiting for the newest records")
	addSettings(cmd, "state-url", "format")
	return cmd
}

func newStateScanCommand() *cobra.Command {
	var (
		where  readPoint
		prefix string
		limit  int64
	)
	cmd := &cobra.Command{
		Use:   "scan TOPIC",
		Short: "Print all rows in key order",
		Example: `  keyframe state scan users --prefix a --limit 10
  keyframe state scan users --at 2026-01-02T15:04:05Z --format jsonl`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point(cmd)
			if err != nil {
				return err
			}
			if limit < 0 {
				return fmt.Errorf("--limit %d: write a number of rows, or 0 for all", limit)
			}
			out, print, err := rowPrinter(cmd, c)
			if err != nil {
				return err
			}
			request := &state.ScanRequest{Topic: args[0], Partition: where.onePartition(), Prefix: []byte(prefix), Limit: limit, At: at, Folded: where.folded}
			if err := scanRows(cmd.Context(), stateClient(c), request, print); err != nil {
				return stateError(c, err)
			}
			return out.close()
		},
	}
	where.addFlags(cmd)
	cmd.Flags().BoolVar(&where.folded, "folded", false, "read the last fold without waiting for the newest records")
	cmd.Flags().StringVar(&prefix, "prefix", "", "only keys that start with this")
	cmd.Flags().Int64VarP(&limit, "limit", "n", 0, "stop after this many rows (0: all)")
	addSettings(cmd, "state-url", "format")
	return cmd
}

// scanRows streams the rows of a scan to fn.
func scanRows(ctx context.Context, client stateconnect.StateServiceClient, request *state.ScanRequest, fn func(*state.Row) error) error {
	stream, err := client.Scan(ctx, connect.NewRequest(request))
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		for _, row := range stream.Msg().Rows {
			if err := fn(row); err != nil {
				return err
			}
		}
	}
	return stream.Err()
}
