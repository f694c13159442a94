package plane

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// Cut is a key frame of every partition of a topic; a partition that never had a record has none.
type Cut struct {
	Name       string // usable as a point as long as its frames are kept, which none is for the name; empty where nothing was ever committed
	Consistent bool   // false: an open transaction held a partition's cut below its end
	Frames     []Frame
	Bytes      int64 // of the answer
}

// Digest is that of the topic at the cut.
func (c Cut) Digest() (d digest.Digest) {
	for _, f := range c.Frames {
		d.Merge(f.Digest)
	}
	return d
}

// Cut cuts a key frame of every partition, where one is not there already, for a comparison: nobody keeps its name for later.
func (p *Plane) Cut(ctx context.Context) (Cut, error) {
	resp, err := p.rpc.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: p.topic, Passing: true}))
	if err != nil {
		return Cut{}, err
	}
	m := resp.Msg
	c := Cut{Name: m.Name, Consistent: m.Consistent, Bytes: int64(proto.Size(m))}
	for _, x := range m.Frames {
		f, err := ToFrame(x)
		if err != nil {
			return Cut{}, fmt.Errorf("%w: frame %d of partition %d: %w", ErrLied, x.Cut, x.Partition, err)
		}
		c.Frames = append(c.Frames, f)
	}
	return c, nil
}

// List asks for what is known of all partitions and of the frames that are kept, and tells how many bytes came.
func (p *Plane) List(ctx context.Context) (parts []Partition, frames []Frame, bytes int64, err error) {
	stream, err := p.rpc.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: p.topic}))
	if err != nil {
		return nil, nil, 0, err
	}
	err = receive(stream, func(_ bool, m *state.FramesResponse) error {
		bytes += int64(proto.Size(m))
		more, kept, err := toList(m)
		parts, frames = append(parts, more...), append(frames, kept...)
		return err
	})
	return parts, frames, bytes, err
}

// Offsets resolves a point: the offset that it is in each partition.
func (p *Plane) Offsets(ctx context.Context, at *state.At) (map[int32]int64, error) {
	stream, err := p.rpc.Scan(ctx, connect.NewRequest(&state.ScanRequest{Topic: p.topic, At: at, Limit: 1}))
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	err = receive(stream, func(_ bool, m *state.ScanResponse) error {
		for _, x := range m.AsOf {
			offsets[x.Partition] = x.Offset
		}
		return nil
	})
	return offsets, err
}
