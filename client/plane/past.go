package plane

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

// Changed is a key whose row is another one at another offset, by the entries of both; zero: there is no such row.
type Changed struct {
	Key           []byte
	Before, After digest.Entry
}

// Diff tells, in key order, which keys have different values at two offsets of a partition; to may lie below from. Errors: ErrOtherIncarnation,
// ErrNotComparable where one of them is not readable (ReasonOf says why), ErrBusy, on's, or the call's own.
func (p *Plane) Diff(ctx context.Context, partition int32, incarnation [16]byte, from, to int64, on func(Changed) error) error {
	s, err := p.rpc.Diff(ctx, connect.NewRequest(&state.DiffRequest{
		Topic: p.topic, Partition: &partition, From: atOffset(from), To: atOffset(to),
	}))
	if err != nil {
		return classify(err)
	}
	var h digest.Hasher
	return classify(receive(s, func(head bool, m *state.DiffResponse) error {
		if head {
			if err := sameLife(incarnation, append(m.From, m.To...)...); err != nil {
				return err
			}
		}
		for _, x := range m.Rows {
			c := Changed{Key: x.Key}
			if x.Before != nil {
				c.Before = h.Entry(x.Key, x.Before.Value)
			}
			if x.After != nil {
				c.After = h.Entry(x.Key, x.After.Value)
			}
			if err := on(c); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Scan reads the state of a partition at an offset, in key order. Errors: Diff's.
func (p *Plane) Scan(ctx context.Context, partition int32, incarnation [16]byte, at int64, on func(frame.Row) error) error {
	s, err := p.rpc.Scan(ctx, connect.NewRequest(&state.ScanRequest{Topic: p.topic, Partition: &partition, At: atOffset(at)}))
	if err != nil {
		return classify(err)
	}
	return classify(receive(s, func(head bool, m *state.ScanResponse) error {
		if head {
			if err := sameLife(incarnation, m.AsOf...); err != nil {
				return err
			}
		}
		for _, x := range m.Rows {
			if err := on(toRow(x)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// CutAbove asks for a key frame of a partition at or above an offset: one that is there, or one that is cut. Errors: the call's own.
func (p *Plane) CutAbove(ctx context.Context, partition int32, from int64) (Frame, error) {
	resp, err := p.rpc.Cut(ctx, connect.NewRequest(&state.CutRequest{Topic: p.topic, Partition: &partition, MinOffset: from}))
	if err != nil {
		return Frame{}, classify(err)
	}
	if n := len(resp.Msg.Frames); n != 1 {
		return Frame{}, fmt.Errorf("%w: %d key frames of one partition", ErrBadAnswer, n)
	}
	f, err := ToFrame(resp.Msg.Frames[0])
	if err == nil && (f.Partition != partition || f.Cut < from) {
		err = fmt.Errorf("%w: a key frame of partition %d at %d, asked for one of %d at or above %d", ErrBadAnswer, f.Partition, f.Cut, partition, from)
	}
	return f, err
}

func atOffset(offset int64) *state.At { return &state.At{Point: &state.At_Offset{Offset: offset}} }

func sameLife(incarnation [16]byte, points ...*state.AsOf) error {
	for _, a := range points {
		if string(a.GetIncarnation()) != string(incarnation[:]) {
			return fmt.Errorf("%w: %x", ErrOtherIncarnation, a.GetIncarnation())
		}
	}
	return nil
}
