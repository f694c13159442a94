package state

import (
	"context"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
)

// DigestAt implements the call.
func (s *service) DigestAt(ctx context.Context, req *connect.Request[api.DigestAtRequest]) (*connect.Response[api.DigestAtResponse], error) {
	m := req.Msg
	sel, err := s.selectPartitions(m.Topic, &m.Partition)
	if err != nil {
		return nil, err
	}
	p := sel.partitions[0]
	if err := sel.sameLife(p, m.Incarnation, m.Offset); err != nil {
		return nil, err
	}
	if err := sel.check(p, m.Offset); err != nil {
		return nil, err
	}
	d, start, err := s.digestAt(ctx, sel, p, m.Offset)
	if err != nil {
		return nil, describe(sel.topic, p, err)
	}
	sum := d.Sum.Bytes()
	return connect.NewResponse(&api.DigestAtResponse{AsOf: asOf(p, m.Offset), Count: d.Count, Sum: sum[:], Start: start}), nil
}

// digestAt is a lookup at a frame, and elsewhere a fold of the deltas above the nearest one. start is the log start in force there.
func (s *service) digestAt(ctx context.Context, sel selection, p *keyframer.Partition, offset int64) (d digest.Digest, start int64, err error) {
	t, err := p.Table()
	if err != nil {
		return d, 0, err
	}
	if f, err := t.Frame(offset); err == nil {
		return f.Digest, f.Start, nil
	}
	ctx, end, err := s.beginScan(ctx, sel.topic.Name)
	if err != nil {
		return d, 0, err
	}
	defer end()
	l, err := p.Live()
	if err != nil {
		return d, 0, err
	}
	past, err := l.At(ctx, offset, p.Log())
	if err != nil {
		return d, 0, err
	}
	d, err = past.Digest()
	return d, past.Start(), firstError(err, past.Close())
}
