package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newStateCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "state", Short: "Read the folded state of a key-framed topic, now or at any offset or time"}
	cmd.AddCommand(newStateGetCommand(), newStateScanCommand(), newStateExportCommand())
	return cmd
}

// stateClient is the state plane of the settings.
func stateClient(c *config) stateconnect.StateServiceClient {
	return stateconnect.NewStateServiceClient(http.DefaultClient, strings.TrimRight(c.str("state-url"), "/"))
}

// stateError says which state plane was asked, and keeps the server's own words.
func stateError(c *config, err error) error {
	var e *connect.Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code() == connect.CodeUnavailable {
		return fmt.Errorf("the state plane at %s (%s): %w", c.str("state-url"), c.source("state-url"), e)
	}
	return errors.New(e.Message())
}

// readPoint is where a read happens: flags --at, --partition and --folded.
type readPoint struct {
	at        string
	partition int32
	folded    bool
}

func (r *readPoint) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.at, "at", "", "read the state at an offset, at P:OFFSET,..., at a time (RFC 3339), or at a cut's name (default: now)")
	cmd.Flags().Int32Var(&r.partition, "partition", -1, "this partition only")
}

func (r *readPoint) onePartition() *int32 {
	if r.partition < 0 {
		return nil
	}
	return &r.partition
}

// point parses --at. A word that is no offset, no list of offsets and no time is the name of a cut.
func (r *readPoint) point() (*state.At, error) {
	if r.at == "" {
		return nil, nil
	}
	if n, err := strconv.ParseInt(r.at, 10, 64); err == nil {
		return &state.At{Point: &state.At_Offset{Offset: n}}, nil
	}
	if at, err := time.Parse(time.RFC3339, r.at); err == nil {
		return &state.At{Point: &state.At_TimeMs{TimeMs: at.UnixMilli()}}, nil
	}
	first, _, _ := strings.Cut(r.at, ",")
	partition, _, isPair := strings.Cut(first, ":")
	if _, err := strconv.ParseInt(partition, 10, 32); !isPair || err != nil {
		return &state.At{Point: &state.At_Cut{Cut: r.at}}, nil
	}
	offsets := &state.PartitionOffsets{}
	for pair := range strings.SplitSeq(r.at, ",") {
		p, o, _ := strings.Cut(pair, ":")
		partition, pErr := strconv.ParseInt(p, 10, 32)
		offset, oErr := strconv.ParseInt(o, 10, 64)
		if pErr != nil || oErr != nil {
			return nil, fmt.Errorf("--at %q: %q is not PARTITION:OFFSET", r.at, pair)
		}
		offsets.Offsets = append(offsets.Offsets, &state.PartitionOffset{Partition: int32(partition), Offset: offset})
	}
	return &state.At{Point: &state.At_Offsets{Offsets: offsets}}, nil
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
		Use:   "get TOPIC KEY",
		Short: "Print the row of one key; the exit status is 1 if there is none",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point()
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
				return fmt.Errorf("topic %s has no key %q", args[0], args[1])
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
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point()
			if err != nil {
				return err
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

func newStateExportCommand() *cobra.Command {
	var (
		where readPoint
		path  string
	)
	cmd := &cobra.Command{
		Use:   "export TOPIC",
		Short: "Write the state of one partition as a key frame file, digest included",
		Long: `Writes the state of one partition at one point in the frame format: blocks of rows with checksums, and the count and digest of
the state at the end.`,
		Example: `  keyframe state export users --at 1000 --output users.frame`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point()
			if err != nil {
				return err
			}
			to := cmd.OutOrStdout()
			if path != "-" {
				file, err := os.Create(path)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, file.Close()) }()
				to = file
			}
			request := &state.ExportRequest{Topic: args[0], Partition: where.onePartition(), At: at}
			n, asOf, err := exportFrame(cmd.Context(), stateClient(c), request, to)
			if err != nil {
				return stateError(c, err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "partition %d at offset %d: %d bytes\n", asOf.GetPartition(), asOf.GetOffset(), n)
			return nil
		},
	}
	where.addFlags(cmd)
	cmd.Flags().StringVarP(&path, "output", "o", "-", "file to write (-: standard output)")
	addSettings(cmd, "state-url")
	return cmd
}

func exportFrame(ctx context.Context, client stateconnect.StateServiceClient, request *state.ExportRequest, to io.Writer) (int64, *state.AsOf, error) {
	stream, err := client.Export(ctx, connect.NewRequest(request))
	if err != nil {
		return 0, nil, err
	}
	defer stream.Close()
	var (
		written int64
		asOf    *state.AsOf
	)
	for stream.Receive() {
		if a := stream.Msg().AsOf; a != nil {
			asOf = a
		}
		n, err := to.Write(stream.Msg().Data)
		written += int64(n)
		if err != nil {
			return written, asOf, err
		}
	}
	return written, asOf, stream.Err()
}
