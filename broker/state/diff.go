package state

import (
	"bytes"
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/frame"
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
	answer := &api.DiffResponse{}
	var cursors []*cursor[table.Difference]
	defer func() { closeAll(cursors) }()
	for i, p := range sel.partitions {
		c, err := openDiff(ctx, p, from[i], to[i], m)
		if err != nil {
			return describe(sel.topic, p, err)
		}
		cursors = append(cursors, c)
		answer.From, answer.To = append(answer.From, asOf(p, from[i])), append(answer.To, asOf(p, to[i]))
	}
	return sendDifferences(ctx, sel, cursors, m.Limit, answer, send)
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
func sendDifferences(ctx context.Context, sel selection, cursors []*cursor[table.Difference], limit int64, answer *api.DiffResponse,
	send func(*api.DiffResponse) error,
) error {
	var last []byte
	sent, size := int64(0), 0 // keys
	for c := least(cursors); c != nil; c = least(cursors) {
		if another := sent == 0 || !bytes.Equal(last, c.key()); another {
			if limit > 0 && sent == limit {
				answer.Next = &api.Cursor{Key: last}
				break
			}
			sent++
		}
		row := differenceOf(c.p, &c.item)
		last = row.Key
		answer.Rows = append(answer.Rows, row)
		size += len(row.Key) + differenceBytes(&c.item.Before) + differenceBytes(&c.item.After)
		if err := c.advance(); err != nil {
			return describe(sel.topic, c.p, err)
		}
		if len(answer.Rows) < messageRows && size < messageBytes {
			continue
		}
		if err := firstError(ctx.Err(), send(answer)); err != nil {
			return describe(sel.topic, nil, err)
		}
		answer, size = &api.DiffResponse{}, 0
	}
	// The first message goes out even without rows, for its points.
	if sent > 0 && len(answer.Rows) == 0 && answer.Next == nil {
		return nil
	}
	return send(answer)
}

func differenceBytes(r *frame.Row) int { return len(r.Key) + len(r.Value) + len(r.Headers) + 32 }

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
