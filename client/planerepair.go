package client

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

var (
	// ErrUnrepairable is wrapped by the error of an Event RepairRefused: the broker says that what it has is damaged, or that replicas agree with
	// one another and not with it. What it has must not be spread.
	ErrUnrepairable = errors.New("the broker has nothing to repair from")

	errBusy = errors.New("the broker is busy with other repairs")
	errLied = errors.New("the state plane contradicts itself")
)

// repairBytes bounds the rows of one repair that are held in memory; beyond it a whole frame is loaded.
const repairBytes = 256 << 20

// tagsInRequest bounds the tags of one Resolve.
const tagsInRequest = 1 << 17

// cellBytesMax is more than an encoded cell ever takes.
const cellBytesMax = 32

// classifyRepair wraps what a call for a repair may fail with in what there is to do about it.
func classifyRepair(err error) error {
	switch planeReason(err) {
	case state.Reason_REASON_BROKER_CORRUPT, state.Reason_REASON_DISPUTED:
		return fmt.Errorf("%w: %w", ErrUnrepairable, err)
	case state.Reason_REASON_TOO_MANY_REPAIRS, state.Reason_REASON_TOO_MANY_LEASES, state.Reason_REASON_BEHIND:
		return fmt.Errorf("%w: %w", errBusy, err)
	case state.Reason_REASON_UNKNOWN_FRAME, state.Reason_REASON_UNKNOWN_CUT:
		return fmt.Errorf("%w: %w", errNoFrame, err)
	case state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_TOPIC_DELETED:
		return fmt.Errorf("%w: %w", errOtherIncarnation, err)
	}
	return err
}

// passing tells whether a call that failed may succeed when it is made again.
func passing(err error) bool {
	if errors.Is(err, errLied) || planeReason(err) != state.Reason_REASON_UNSPECIFIED {
		return false
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeAborted, connect.CodeInternal, connect.CodeUnknown, connect.CodeCanceled:
		return true
	}
	return false
}

// repairPlane asks the state plane about one frame, and counts what comes.
type repairPlane struct {
	*plane
	f       frameInfo
	replica string

	bytes int64
	trips int
}

// sameFrame checks that an answer is about the frame that was asked about.
func (r *repairPlane) sameFrame(x *state.Frame) error {
	if x == nil {
		return fmt.Errorf("%w: an answer without its frame", errLied)
	}
	f, err := toFrameInfo(x)
	if err != nil {
		return fmt.Errorf("%w: %w", errLied, err)
	}
	if f != r.f {
		return fmt.Errorf("%w: it is %x at %d now", errNoFrame, f.pub, f.cut)
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
	return fmt.Errorf("%w: an empty answer", errLied)
}

// sketch asks for cells [first, first+n) of the frame's sketch, and tells how many bytes they took.
func (r *repairPlane) sketch(ctx context.Context, first, n int) (cells []sketch.Cell, size int64, err error) {
	r.trips++
	s, err := r.rpc.Sketch(ctx, connect.NewRequest(&state.SketchRequest{
		Topic: r.topic, Partition: r.f.partition, Incarnation: r.f.incarnation[:], Cut: r.f.cut, First: uint32(first), Cells: uint32(n), Replica: r.replica,
	}))
	if err != nil {
		return nil, 0, err
	}
	var encoded []byte
	err = receive(s, func(head bool, m *state.SketchResponse) error {
		r.bytes += int64(proto.Size(m))
		if head {
			if err := r.sameFrame(m.Frame); err != nil {
				return err
			}
		}
		if encoded = append(encoded, m.Cells...); len(encoded) > n*cellBytesMax {
			return fmt.Errorf("%w: %d cells of more than %d bytes", errLied, n, n*cellBytesMax)
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if cells, err = sketch.Parse(encoded, first, r.f.digest.Count); err == nil && len(cells) != n {
		err = fmt.Errorf("%w: %d cells, asked for %d", errLied, len(cells), n)
	}
	return cells, int64(len(encoded)), err
}

// tags asks for the tags of all rows of the frame.
func (r *repairPlane) tags(ctx context.Context) ([]uint64, error) {
	r.trips++
	s, err := r.rpc.Tags(ctx, connect.NewRequest(&state.TagsRequest{
		Topic: r.topic, Partition: r.f.partition, Incarnation: r.f.incarnation[:], Cut: r.f.cut, Replica: r.replica,
	}))
	if err != nil {
		return nil, err
	}
	var out []uint64
	err = receive(s, func(head bool, m *state.TagsResponse) error {
		r.bytes += int64(proto.Size(m))
		if head {
			if err := r.sameFrame(m.Frame); err != nil {
				return err
			}
		}
		if len(m.Tags)%8 != 0 || int64(len(out)+len(m.Tags)/8) > r.f.digest.Count {
			return fmt.Errorf("%w: tags of more than the frame's %d rows", errLied, r.f.digest.Count)
		}
		for b := m.Tags; len(b) > 0; b = b[8:] {
			out = append(out, binary.BigEndian.Uint64(b))
		}
		return nil
	})
	if err == nil && int64(len(out)) != r.f.digest.Count {
		err = fmt.Errorf("%w: %d tags of %d rows", errLied, len(out), r.f.digest.Count)
	}
	return out, err
}

// resolve asks for the rows with the tags, at most tagsInRequest.
func (r *repairPlane) resolve(ctx context.Context, tags []uint64, on func(frame.Row) error) error {
	r.trips++
	encoded := make([]byte, 0, 8*len(tags))
	for _, t := range tags {
		encoded = binary.BigEndian.AppendUint64(encoded, t)
	}
	s, err := r.rpc.Resolve(ctx, connect.NewRequest(&state.ResolveRequest{
		Topic: r.topic, Partition: r.f.partition, Incarnation: r.f.incarnation[:], Cut: r.f.cut, Tags: encoded, Replica: r.replica,
	}))
	if err != nil {
		return err
	}
	return receive(s, func(_ bool, m *state.ResolveResponse) error {
		r.bytes += int64(proto.Size(m))
		if len(m.Unknown) > 0 {
			return fmt.Errorf("%w: %d tags of its own have no row", errLied, len(m.Unknown)/8)
		}
		for _, x := range m.Rows {
			if x.Partition != r.f.partition || x.Offset < r.f.start || x.Offset >= r.f.cut {
				return fmt.Errorf("%w: a row of partition %d at %d in the frame at %d", errLied, x.Partition, x.Offset, r.f.cut)
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
