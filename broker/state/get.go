package state

import (
	"context"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

// Get implements the call.
func (s *service) Get(ctx context.Context, req *connect.Request[api.GetRequest]) (*connect.Response[api.GetResponse], error) {
	m := req.Msg
	if err := checkRead(m.At, m.Folded, m.MinOffsets); err != nil {
		return nil, err
	}
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return nil, err
	}
	get := getNow
	switch {
	case m.At != nil:
		if get, err = s.getAt(ctx, sel, m.At); err != nil {
			return nil, err
		}
	case m.Folded:
		get = getFolded
	default:
		if err := s.wait(ctx, sel, m.MinOffsets); err != nil {
			return nil, err
		}
	}
	answer := &api.GetResponse{}
	for _, p := range sel.partitions {
		row, offset, ok, err := get(p, m.Key)
		if err != nil {
			return nil, describe(sel.topic, p, err)
		}
		answer.AsOf = append(answer.AsOf, asOf(p, offset))
		if ok {
			answer.Rows = append(answer.Rows, rowOf(p, &row))
		}
	}
	return connect.NewResponse(answer), nil
}

// getter reads one key of one partition, and says as of which offset.
type getter func(p *keyframer.Partition, key []byte) (row frame.Row, offset int64, ok bool, err error)

func getNow(p *keyframer.Partition, key []byte) (row frame.Row, offset int64, ok bool, err error) {
	l, err := p.Live()
	if err != nil {
		return row, 0, false, err
	}
	return l.Get(key)
}

func getFolded(p *keyframer.Partition, key []byte) (row frame.Row, offset int64, ok bool, err error) {
	t, err := p.Table()
	if err != nil {
		return row, 0, false, err
	}
	view, err := t.View(table.Current)
	if err != nil {
		return row, 0, false, err
	}
	row, ok, err = view.Get(key)
	return cloned(row), view.End(), ok, firstError(err, view.Close())
}

// getAt reads at a point of the past. It collapses deltas as a scan does, so it is admitted as one.
func (s *service) getAt(ctx context.Context, sel selection, at *api.At) (getter, error) {
	offsets, err := sel.resolve(at)
	if err != nil {
		return nil, err
	}
	return func(p *keyframer.Partition, key []byte) (row frame.Row, offset int64, ok bool, err error) {
		ctx, end, err := s.beginScan(ctx, sel.topic.Name)
		if err != nil {
			return row, 0, false, err
		}
		defer end()
		for i := range sel.partitions {
			if sel.partitions[i] == p {
				offset = offsets[i]
			}
		}
		l, err := p.Live()
		if err != nil {
			return row, offset, false, err
		}
		past, err := l.At(ctx, offset, p.Log())
		if err != nil {
			return row, offset, false, err
		}
		row, ok, err = past.Get(key)
		return cloned(row), offset, ok, firstError(err, past.Close())
	}, nil
}

// cloned is the row without the memory of the view that it was read through.
func cloned(r frame.Row) frame.Row {
	r.Key = append([]byte(nil), r.Key...)
	r.Value = append([]byte(nil), r.Value...)
	r.Headers = append(r.Headers[:0:0], r.Headers...)
	return r
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
