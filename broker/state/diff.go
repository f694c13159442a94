package state

import (
	"bytes"
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

// Diff implements the call.
func (s *service) Diff(ctx context.Context, req *connect.Request[api.DiffRequest], stream *connect.ServerStream[api.DiffResponse]) error {
	return s.diffTo(ctx, req.Msg, stream.Send)
}

func (s *service) diffTo(ctx context.Context, m *api.DiffRequest, send func(*api.DiffResponse) error) error {
	if m.From == nil {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("from names no point"))
	}
	if m.Limit < 0 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("limit is negative"))
	}
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	from, err := sel.resolve(m.From)
	if err != nil {
		return err
	}
	to, err := sel.end(m.To)
	if err != nil {
		return err
	}
	ctx, end, err := s.beginScan(ctx, m.Topic)
	if err != nil {
		return err
	}
	defer end()
	out := &outbox[api.DiffResponse]{send: send, message: &api.DiffResponse{}}
	var cursors []*cursor[table.Difference]
	defer func() { closeAll(cursors) }()
	for i, p := range sel.partitions {
		c, err := openDiff(ctx, p, from[i], to[i], m)
		if err != nil {
			return describe(sel.topic, p, err)
		}
		cursors = append(cursors, c)
		out.message.From, out.message.To = append(out.message.From, asOf(p, from[i])), append(out.message.To, asOf(p, to[i]))
	}
	return sendDifferences(ctx, sel, cursors, m.Limit, out)
}

func openDiff(ctx context.Context, p *keyframer.Partition, from, to int64, m *api.DiffRequest) (*cursor[table.Difference], error) {
	l, err := p.Live()
	if err != nil {
		return nil, err
	}
	d, err := l.Diff(ctx, from, to, p.Log())
	if err != nil {
		return nil, err
	}
	var after []byte
	if m.After != nil {
		after = append([]byte{}, m.After.Key...)
	}
	return newCursor(p, d.Rows(ctx, m.Prefix, after), d.Close)
}

// sendDifferences merges the partitions by key. It ends between two keys once limit keys are out.
func sendDifferences(ctx context.Context, sel selection, cursors []*cursor[table.Difference], limit int64, out *outbox[api.DiffResponse]) error {
	var last []byte
	sent := int64(0) // keys
	for c := least(cursors); c != nil; c = least(cursors) {
		if another := sent == 0 || !bytes.Equal(last, c.key()); another {
			if limit > 0 && sent == limit {
				out.message.Next = &api.Cursor{Key: last}
				return out.flush()
			}
			sent++
		}
		row, size := differenceOf(c.p, &c.item), len(c.item.Key)+rowBytes(&c.item.Before)+rowBytes(&c.item.After)
		last = row.Key
		out.message.Rows = append(out.message.Rows, row)
		if err := c.advance(); err != nil {
			return describe(sel.topic, c.p, err)
		}
		if err := out.added(ctx, size); err != nil {
			return describe(sel.topic, nil, err)
		}
	}
	return out.close()
}

func differenceOf(p *keyframer.Partition, d *table.Difference) *api.DiffRow {
	row := &api.DiffRow{Partition: p.Index, Key: append([]byte{}, d.Key...)}
	if d.Had {
		row.Before = rowOf(p, &d.Before)
	}
	if d.Has {
		row.After = rowOf(p, &d.After)
	}
	return row
}
