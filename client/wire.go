package client

import (
	"context"
	"errors"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

const (
	// sampleBytes is how much of a frame is read to tell what all of it takes on the wire.
	sampleBytes = 256 << 10
	// rowOverhead is what a row takes that is fetched alone, beside its key and value, where no row has been seen.
	rowOverhead = 16
)

// wireCost is what a frame and its rows take as they are sent.
type wireCost struct {
	frame int64 // all of it
	row   int64 // of one that is fetched alone, beside its key and value
}

// wire tells what a frame takes, by the first of its blocks: how far offsets and times are apart, and what headers rows have, is told by nothing else. What
// cannot be read is told by what is known of every frame. It is asked for once a frame.
func (v *dirVerifier) wire(ctx context.Context, f plane.Frame) wireCost {
	w := wireCost{f.Bytes, rowOverhead}
	if !v.costs || f.Digest.Count == 0 { // nobody is told what it costs
		return w
	}
	if known, ok := v.sampled[f.Pub]; ok {
		return known
	}
	if is, err := v.sample(ctx, f); err == nil {
		w = is
	} else {
		v.cfg.Logger.Warn("what a key frame takes on the wire is not known: it is more than its keys and values", "partition", f.Partition, "cut", f.Cut, "err", err)
	}
	if v.sampled == nil {
		v.sampled = map[[32]byte]wireCost{}
	}
	v.sampled[f.Pub] = w
	return w
}

func (v *dirVerifier) sample(ctx context.Context, f plane.Frame) (w wireCost, err error) {
	name := plane.Whole(f.Partition, f.Cut)
	body, err := v.plane.Download(ctx, name, name.ETag(f.Pub), v.cfg.Retry)
	if err != nil {
		return w, err
	}
	defer body.Close()
	fr, err := f.Read(body, name)
	if err != nil {
		return w, err
	}
	rows, bytes, alone, head := int64(0), int64(0), int64(0), body.At
	for body.At < head+sampleBytes {
		block, err := fr.Next(nil)
		if errors.Is(err, io.EOF) {
			w.frame = body.At
			break
		}
		if err != nil {
			return w, err
		}
		for row, err := range block.Rows() {
			if err != nil {
				return w, err
			}
			rows++
			bytes += int64(len(row.Key) + len(row.Value))
			alone += aloneOnWire(f.Partition, row)
		}
	}
	if rows == 0 { // of a frame that is said to have some
		return w, io.ErrUnexpectedEOF
	}
	if w.frame == 0 {
		w.frame = body.At + f.Bytes - bytes + (f.Digest.Count-rows)*(body.At-head-bytes)/rows
	}
	w.row = (alone - bytes) / rows
	return w, nil
}

// aloneOnWire is what a row takes among those that are fetched one by one.
func aloneOnWire(partition int32, row frame.Row) int64 {
	x := &state.Row{Partition: partition, Key: row.Key, Value: row.Value, Offset: row.Offset, TimestampMs: row.Timestamp}
	for key, value := range row.Headers.All() {
		x.Headers = append(x.Headers, &state.Header{Key: key, Value: value})
	}
	return int64(protowire.SizeTag(1) + protowire.SizeBytes(proto.Size(x)))
}
