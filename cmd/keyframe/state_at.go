package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/state"
)

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

func (r *readPoint) checkPartition(cmd *cobra.Command) error {
	if r.partition < 0 && cmd.Flags().Changed("partition") {
		return fmt.Errorf("--partition %d: partitions are numbered from 0", r.partition)
	}
	return nil
}

// point parses --at, and checks --partition. What names no point is refused here: the server would look for a cut of that name.
func (r *readPoint) point(cmd *cobra.Command) (*state.At, error) {
	if err := r.checkPartition(cmd); err != nil {
		return nil, err
	}
	return parsePoint("at", r.at)
}

// parsePoint reads the flag of a point; empty is none.
func parsePoint(flag, text string) (*state.At, error) {
	if text == "" {
		return nil, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 {
			return nil, fmt.Errorf("--%s %d: offsets begin at 0; the state at an offset is that of the records below it", flag, n)
		}
		return &state.At{Point: &state.At_Offset{Offset: n}}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return &state.At{Point: &state.At_TimeMs{TimeMs: at.UnixMilli()}}, nil
	}
	if keyframer.IsCutName(text) {
		return &state.At{Point: &state.At_Cut{Cut: text}}, nil
	}
	offsets := &state.PartitionOffsets{}
	for pair := range strings.SplitSeq(text, ",") {
		p, o, _ := strings.Cut(pair, ":")
		partition, pErr := strconv.ParseInt(p, 10, 32)
		offset, oErr := strconv.ParseInt(o, 10, 64)
		if pErr != nil || oErr != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("--%s %q: write an offset as 1000, a time as 2026-01-02T15:04:05Z, the name that frames cut printed, "+
				"or PARTITION:OFFSET for each partition as 0:1000,1:980", flag, text)
		}
		offsets.Offsets = append(offsets.Offsets, &state.PartitionOffset{Partition: int32(partition), Offset: offset})
	}
	return &state.At{Point: &state.At_Offsets{Offsets: offsets}}, nil
}

// readSpan is what lies between two points: flags --from, --to and --partition.
type readSpan struct {
	readPoint
	from, to string
}

func (r *readSpan) addFlags(cmd *cobra.Command, from string) {
	const point = "an offset, P:OFFSET,..., a time (RFC 3339), or a cut's name"
	cmd.Flags().StringVar(&r.from, "from", "", "where it begins: "+point+from)
	cmd.Flags().StringVar(&r.to, "to", "", "where it ends, likewise (default: now)")
	cmd.Flags().Int32Var(&r.partition, "partition", -1, "this partition only")
}

func (r *readSpan) points(cmd *cobra.Command) (from, to *state.At, err error) {
	if err = r.checkPartition(cmd); err != nil {
		return nil, nil, err
	}
	if from, err = parsePoint("from", r.from); err != nil {
		return nil, nil, err
	}
	to, err = parsePoint("to", r.to)
	return from, to, err
}
