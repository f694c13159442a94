package state

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/table"
)

// Rows are sent in messages of about this size.
const (
	messageRows  = 1024
	messageBytes = 256 << 10
)

// Scan implements the call.
func (s *service) Scan(ctx context.Context, req *connect.Request[api.ScanRequest], stream *connect.ServerStream[api.ScanResponse]) error {
	m := req.Msg
	if err := checkRead(m.At, m.Folded, m.MinOffsets); err != nil {
		return err
	}
	if m.Limit < 0 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("limit is negative"))
	}
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	ctx, end, err := s.beginScan(ctx, m.Topic)
	if err != nil {
		return err
	}
	defer end()
	open, err := s.scanner(ctx, sel, m)
	if err != nil {
		return err
	}
	var cursors []*rowCursor
	defer func() {
		for _, c := range cursors {
			c.close()
		}
	}()
	answer := &api.ScanResponse{}
	for _, p := range sel.partitions {
		c, offset, err := openCursor(p, open)
		if err != nil {
			return describe(sel.topic, p, err)
		}
		cursors = append(cursors, c)
		answer.AsOf = append(answer.AsOf, asOf(p, offset))
	}
	return sendRows(ctx, sel, cursors, m.Limit, answer, stream.Send)
}

// opener starts a scan of one partition; close releases what it pins.
type opener func(p *keyframer.Partition) (offset int64, rows iter.Seq2[frame.Row, error], close func() error, err error)

// scanner chooses what is scanned: now, the last fold, or the past.
func (s *service) scanner(ctx context.Context, sel selection, m *api.ScanRequest) (opener, error) {
	var after []byte
	if m.After != nil {
		after = append([]byte{}, m.After.Key...)
	}
	switch {
	case m.At != nil:
		offsets, err := sel.resolve(m.At)
		if err != nil {
			return nil, err
		}
		return scanAt(ctx, sel, offsets, m.Prefix, after), nil
	case m.Folded:
		return scanFolded(m.Prefix, after), nil
	}
	if err := s.wait(ctx, sel, m.MinOffsets); err != nil {
		return nil, err
	}
	return scanNow(m.Prefix, after), nil
}

func scanNow(prefix, after []byte) opener {
	return func(p *keyframer.Partition) (int64, iter.Seq2[frame.Row, error], func() error, error) {
		l, err := p.Live()
		if err != nil {
			return 0, nil, nil, err
		}
		offset, rows, release, err := l.Scan(prefix, after)
		return offset, rows, func() error { release(); return nil }, err
	}
}

func scanFolded(prefix, after []byte) opener {
	return func(p *keyframer.Partition) (int64, iter.Seq2[frame.Row, error], func() error, error) {
		t, err := p.Table()
		if err != nil {
			return 0, nil, nil, err
		}
		view, err := t.View(table.Current)
		if err != nil {
			return 0, nil, nil, err
		}
		return view.End(), view.Scan(prefix, after), view.Close, nil
	}
}

func scanAt(ctx context.Context, sel selection, offsets []int64, prefix, after []byte) opener {
	at := map[*keyframer.Partition]int64{}
	for i, p := range sel.partitions {
		at[p] = offsets[i]
	}
	return func(p *keyframer.Partition) (int64, iter.Seq2[frame.Row, error], func() error, error) {
		l, err := p.Live()
		if err != nil {
			return 0, nil, nil, err
		}
		past, err := l.At(ctx, at[p], p.Log())
		if err != nil {
			return 0, nil, nil, err
		}
		return at[p], past.Scan(prefix, after), past.Close, nil
	}
}

// rowCursor is the scan of one partition and the row that it stands at.
type rowCursor struct {
	p     *keyframer.Partition
	next  func() (frame.Row, error, bool)
	stop  func()
	unpin func() error
	row   frame.Row
	ok    bool
}

func openCursor(p *keyframer.Partition, open opener) (*rowCursor, int64, error) {
	offset, rows, unpin, err := open(p)
	if err != nil {
		return nil, 0, err
	}
	c := &rowCursor{p: p, unpin: unpin}
	c.next, c.stop = iter.Pull2(rows)
	if err := c.advance(); err != nil {
		c.close()
		return nil, 0, err
	}
	return c, offset, nil
}

func (c *rowCursor) advance() (err error) {
	c.row, err, c.ok = c.next()
	return err
}

func (c *rowCursor) close() {
	c.stop()
	_ = c.unpin() // of iterators that were only read
}

// least returns the cursor with the lowest key, of equal ones the first; nil at the end.
func least(cursors []*rowCursor) *rowCursor {
	var best *rowCursor
	for _, c := range cursors {
		if c.ok && (best == nil || bytes.Compare(c.row.Key, best.row.Key) < 0) {
			best = c
		}
	}
	return best
}

// sendRows merges the partitions by key. It ends between two keys once limit rows are out.
func sendRows(ctx context.Context, sel selection, cursors []*rowCursor, limit int64, answer *api.ScanResponse,
	send func(*api.ScanResponse) error,
) error {
	var last []byte
	sent, size := int64(0), 0
	for c := least(cursors); c != nil; c = least(cursors) {
		if limit > 0 && sent >= limit && !bytes.Equal(last, c.row.Key) {
			answer.Next = &api.Cursor{Key: last}
			break
		}
		row := rowOf(c.p, &c.row)
		last = row.Key
		answer.Rows = append(answer.Rows, row)
		sent++
		size += len(row.Key) + len(row.Value) + len(c.row.Headers) + 32
		if err := c.advance(); err != nil {
			return describe(sel.topic, c.p, err)
		}
		if len(answer.Rows) < messageRows && size < messageBytes {
			continue
		}
		if err := firstError(ctx.Err(), send(answer)); err != nil {
			return describe(sel.topic, nil, err)
		}
		answer, size = &api.ScanResponse{}, 0
	}
	// The first message goes out even without rows, for its as_of.
	if sent > 0 && len(answer.Rows) == 0 && answer.Next == nil {
		return nil
	}
	return send(answer)
}
