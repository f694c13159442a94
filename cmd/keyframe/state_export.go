package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newStateExportCommand() *cobra.Command {
	var (
		where readPoint
		path  string
	)
	cmd := &cobra.Command{
		Use:   "export TOPIC",
		Short: "Write the state of one partition as a key frame file, digest included",
		Long: `Writes the state of one partition at one point in the frame format: blocks of rows with checksums, and the count and digest of
the state at the end. The file appears when it is complete; one of the same name stays as it is until then.`,
		Example:           `  keyframe state export users --at 1000 --output users.frame`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			at, err := where.point(cmd)
			if err != nil {
				return err
			}
			request := &state.ExportRequest{Topic: args[0], Partition: where.onePartition(), At: at}
			var (
				n    int64
				asOf *state.AsOf
			)
			if err := writeOutput(cmd, path, func(to io.Writer) error {
				n, asOf, err = exportFrame(cmd.Context(), stateClient(c), request, to)
				return err
			}); err != nil {
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

// writeOutput lets fn write to standard output or to a file. A file is written beside its name and renamed when it is complete, so
// that a failure neither leaves half a file nor harms an older one. What is no regular file, such as a pipe, is written directly.
func writeOutput(cmd *cobra.Command, path string, fn func(io.Writer) error) error {
	if path == "-" {
		return fn(cmd.OutOrStdout())
	}
	name := path + ".partial"
	info, err := os.Stat(path)
	direct := err == nil && !info.Mode().IsRegular()
	if direct {
		name = path
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	if direct {
		return errors.Join(fn(file), file.Close())
	}
	if err := cmp.Or(fn(file), file.Sync()); err != nil {
		return errors.Join(err, file.Close(), os.Remove(name))
	}
	if err := file.Close(); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return os.Rename(name, path)
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
