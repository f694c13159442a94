package state

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
)

// ParsePoint reads a point as people write it: an offset as 1000; an offset for each partition as 0:1000,1:980; a time as 2026-01-02T15:04:05Z
// (RFC 3339); the name of a cut. The error says how to write one: what names no point is not taken for a cut that nobody knows.
func ParsePoint(text string) (*api.At, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 {
			return nil, errors.New("offsets begin at 0; the state at an offset is that of the records below it")
		}
		return &api.At{Point: &api.At_Offset{Offset: n}}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return &api.At{Point: &api.At_TimeMs{TimeMs: at.UnixMilli()}}, nil
	}
	if keyframer.IsCutName(text) {
		return &api.At{Point: &api.At_Cut{Cut: text}}, nil
	}
	offsets := &api.PartitionOffsets{}
	for pair := range strings.SplitSeq(text, ",") {
		p, o, _ := strings.Cut(pair, ":")
		partition, pErr := strconv.ParseInt(p, 10, 32)
		offset, oErr := strconv.ParseInt(o, 10, 64)
		if pErr != nil || oErr != nil || partition < 0 || offset < 0 {
			return nil, errors.New("write an offset as 1000, a time as 2026-01-02T15:04:05Z, the name that frames cut printed, " +
				"or PARTITION:OFFSET for each partition as 0:1000,1:980")
		}
		offsets.Offsets = append(offsets.Offsets, &api.PartitionOffset{Partition: int32(partition), Offset: offset})
	}
	return &api.At{Point: &api.At_Offsets{Offsets: offsets}}, nil
}
