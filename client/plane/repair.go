package plane

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
)

// TagsInRequest bounds the tags of one Resolve.
const TagsInRequest = 1 << 17

// cellBytesMax is more than an encoded cell ever takes.
const cellBytesMax = 32

// Repair asks the state plane about one frame, and counts what comes.
type Repair struct {
	*Plane
	Of      Frame
	Replica string
	Naming  bool // what differs is told and left as it is: it is answered in a dispute as well

	Bytes int64
	Trips int
}

// sameFrame checks that an answer is about the frame that was asked about.
func (r *Repair) sameFrame(x *state.Frame) error {
	if x == nil {
		return fmt.Errorf("%w: an answer without its frame", ErrLied)
	}
	f, err := ToFrame(x)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrLied, err)
	}
	if f != r.Of {
		return fmt.Errorf("%w: it is %x at %d now", ErrNoFrame, f.Pub, f.Cut)
	}
	return nil
}

// receive reads a stream whose first message is to be checked, to its end.
func receive[M any](s *connect.ServerStreamForClient[M], on func(first bool, m *M) error) (err error) {
	defer func() { err = errors.Join(err, s.Close()) }()
	n := 0
	for ; s.Receive(); n++ {
		if err := on(n == 0, s.Msg()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil || n > 0 {
		return err
	}
	return fmt.Errorf("%w: an empty answer", ErrLied)
}

// Sketch asks for cells [first, first+n) of the frame's sketch, and tells how many bytes they took.
func (r *Repair) Sketch(ctx context.Context, first, n int) (cells []sketch.Cell, size int64, err error) {
	r.Trips++
	s, err := r.rpc.Sketch(ctx, connect.NewRequest(&state.SketchRequest{
		Topic: r.topic, Partition: r.Of.Partition, Incarnation: r.Of.Incarnation[:], Cut: r.Of.Cut, First: uint32(first), Cells: uint32(n), Replica: r.Replica,
		Naming: r.Naming,
	}))
	if err != nil {
		return nil, 0, err
	}
	var encoded []byte
	err = receive(s, func(head bool, m *state.SketchResponse) error {
		r.Bytes += int64(proto.Size(m))
		if head {
			if err := r.sameFrame(m.Frame); err != nil {
				return err
			}
		}
		if encoded = append(encoded, m.Cells...); len(encoded) > n*cellBytesMax {
			return fmt.Errorf("%w: %d cells of more than %d bytes", ErrLied, n, n*cellBytesMax)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if cells, err = sketch.Parse(encoded, first, r.Of.Digest.Count); err == nil && len(cells) != n {
		err = fmt.Errorf("%w: %d cells, asked for %d", ErrLied, len(cells), n)
	}
	return cells, int64(len(encoded)), err
}

// Tags asks for the tags of all rows of the frame.
func (r *Repair) Tags(ctx context.Context) ([]uint64, error) {
	r.Trips++
	s, err := r.rpc.Tags(ctx, connect.NewRequest(&state.TagsRequest{
		Topic: r.topic, Partition: r.Of.Partition, Incarnation: r.Of.Incarnation[:], Cut: r.Of.Cut, Replica: r.Replica, Naming: r.Naming,
	}))
	if err != nil {
		return nil, err
	}
	var out []uint64
	err = receive(s, func(head bool, m *state.TagsResponse) error {
		r.Bytes += int64(proto.Size(m))
		if head {
			if err := r.sameFrame(m.Frame); err != nil {
				return err
			}
		}
		if len(m.Tags)%8 != 0 || int64(len(out)+len(m.Tags)/8) > r.Of.Digest.Count {
			return fmt.Errorf("%w: tags of more than the frame's %d rows", ErrLied, r.Of.Digest.Count)
		}
		for b := m.Tags; len(b) > 0; b = b[8:] {
			out = append(out, binary.BigEndian.Uint64(b))
		}
		return nil
	})
	if err == nil && int64(len(out)) != r.Of.Digest.Count {
		err = fmt.Errorf("%w: %d tags of %d rows", ErrLied, len(out), r.Of.Digest.Count)
	}
	return out, err
}

// Resolve asks for the rows with the tags, at most TagsInRequest of them. Tags that no row has are passed over.
func (r *Repair) Resolve(ctx context.Context, tags []uint64, on func(frame.Row) error) error {
	r.Trips++
	encoded := make([]byte, 0, 8*len(tags))
	for _, t := range tags {
		encoded = binary.BigEndian.AppendUint64(encoded, t)
	}
	s, err := r.rpc.Resolve(ctx, connect.NewRequest(&state.ResolveRequest{
		Topic: r.topic, Partition: r.Of.Partition, Incarnation: r.Of.Incarnation[:], Cut: r.Of.Cut, Tags: encoded, Replica: r.Replica, Naming: r.Naming,
	}))
	if err != nil {
		return err
	}
	return receive(s, func(_ bool, m *state.ResolveResponse) error {
		r.Bytes += int64(proto.Size(m))
		for _, x := range m.Rows {
			if x.Partition != r.Of.Partition || x.Offset < r.Of.Start || x.Offset >= r.Of.Cut {
				return fmt.Errorf("%w: a row of partition %d at %d in the frame at %d", ErrLied, x.Partition, x.Offset, r.Of.Cut)
			}
			if err := on(toRow(x)); err != nil {
				return err
			}
		}
		return nil
	})
}

func toRow(x *state.Row) frame.Row {
	row := frame.Row{Key: x.Key, Value: x.Value, Offset: x.Offset, Timestamp: x.TimestampMs}
	if row.Value == nil {
		row.Value = []byte{}
	}
	if len(x.Headers) > 0 {
		hs := make([]batch.Header, len(x.Headers))
		for i, h := range x.Headers {
			hs[i] = batch.Header{Key: h.Key, Value: h.Value}
		}
		row.Headers = batch.AppendHeaders(nil, hs...)
	}
	return row
}
