package main

import (
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	stateplane "github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/state"
)

// readPoint is where a read happens: flags --at, --partition and --folded.
type readPoint struct {
	at        string
	partition int32
	folded    bool
}

func (r *readPoint) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.at, "at", "", "read the state at an offset, at P:OFFSET,..., at a time of the broker (RFC 3339), or at a cut's name (default: now)")
	cmd.Flags().Int32Var(&r.partition, "partition", -1, "this partition only")
}

func (r *readPoint) onePartition() *int32 {
	if r.partition < 0 {
		return nil
	}
	return &r.partition
}

func (r *readPoint) checkPartition(cmd *cobra.Command) error {
	if r.partition < 0 && cmd.Flags().Changed("partition") {
		return fmt.Errorf("--partition %d: partitions are numbered from 0", r.partition)
	}
	return nil
}

// point parses --at, and checks --partition.
func (r *readPoint) point(cmd *cobra.Command) (*state.At, error) {
	if err := r.checkPartition(cmd); err != nil {
		return nil, err
	}
	return parsePoint(cmd, "at", r.at)
}

// parsePoint reads the flag of a point; nil where it is not there. Empty text is no point: it may be that of a cut that was not made.
func parsePoint(cmd *cobra.Command, flag, text string) (*state.At, error) {
	if !cmd.Flags().Changed(flag) {
		return nil, nil
	}
	at, err := stateplane.ParsePoint(text)
	if err != nil {
		return nil, fmt.Errorf("--%s %q: %w", flag, text, err)
	}
	return at, nil
}

// readSpan is what lies between two points: flags --from, --to and --partition.
type readSpan struct {
	readPoint
	from, to string
}

func (r *readSpan) addFlags(cmd *cobra.Command, from string) {
	const point = "an offset, P:OFFSET,..., a time of the broker (RFC 3339), or a cut's name"
	cmd.Flags().StringVar(&r.from, "from", "", "where it begins: "+point+from)
	cmd.Flags().StringVar(&r.to, "to", "", "where it ends, likewise (default: now)")
	cmd.Flags().Int32Var(&r.partition, "partition", -1, "this partition only")
}

func (r *readSpan) points(cmd *cobra.Command) (from, to *state.At, err error) {
	if err = r.checkPartition(cmd); err != nil {
		return nil, nil, err
	}
	if from, err = parsePoint(cmd, "from", r.from); err != nil {
		return nil, nil, err
	}
	to, err = parsePoint(cmd, "to", r.to)
	return from, to, err
}

// named says of an error of the state plane's about the two points, as it is to be told, by which flags they were given.
func (r *readSpan) named(err, told error) error {
	if connect.CodeOf(err) != connect.CodeInvalidArgument {
		return told
	}
	return fmt.Errorf("--from %s --to %s: %w", r.from, r.to, told)
}
