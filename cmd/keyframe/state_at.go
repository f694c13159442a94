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

// point parses --at, and checks --partition. What names no point is refused here: the server would look for a cut of that name.
func (r *readPoint) point(cmd *cobra.Command) (*state.At, error) {
	if r.partition < 0 && cmd.Flags().Changed("partition") {
		return nil, fmt.Errorf("--partition %d: partitions are numbered from 0", r.partition)
	}
	if r.at == "" {
		return nil, nil
	}
	if n, err := strconv.ParseInt(r.at, 10, 64); err == nil {
		if n < 0 {
			return nil, fmt.Errorf("--at %d: offsets begin at 0; the state at an offset is that of the records below it", n)
		}
		return &state.At{Point: &state.At_Offset{Offset: n}}, nil
	}
	if at, err := time.Parse(time.RFC3339, r.at); err == nil {
		return &state.At{Point: &state.At_TimeMs{TimeMs: at.UnixMilli()}}, nil
	}
	if keyframer.IsCutName(r.at) {
		return &state.At{Point: &state.At_Cut{Cut: r.at}}, nil
	}
	offsets := &state.PartitionOffsets{}
	for pair := range strings.SplitSeq(r.at, ",") {
		p, o, _ := strings.Cut(pair, ":")
		partition, pErr := strconv.ParseInt(p, 10, 32)
		offset, oErr := strconv.ParseInt(o, 10, 64)
		if pErr != nil || oErr != nil || partition < 0 || offset < 0 {
			return nil, fmt.Errorf("--at %q: write an offset as 1000, a time as 2026-01-02T15:04:05Z, the name that frames cut printed, "+
				"or PARTITION:OFFSET for each partition as 0:1000,1:980", r.at)
		}
		offsets.Offsets = append(offsets.Offsets, &state.PartitionOffset{Partition: int32(partition), Offset: offset})
	}
	return &state.At{Point: &state.At_Offsets{Offsets: offsets}}, nil
}
