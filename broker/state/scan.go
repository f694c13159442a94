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

// Scan implements the call.
func (s *service) Scan(ctx context.Context, req *connect.Request[api.ScanRequest], stream *connect.ServerStream[api.ScanResponse]) error {
	return s.scanTo(ctx, req.Msg, stream.Send)
}

func (s *service) scanTo(ctx context.Context, m *api.ScanRequest, send func(*api.ScanResponse) error) error {
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
	var cursors []*cursor[frame.Row]
	defer func() { closeAll(cursors) }()
	out := &outbox[api.ScanResponse]{send: send, message: &api.ScanResponse{}}
	for _, p := range sel.partitions {
		c, offset, err := openCursor(p, open)
		if err != nil {
			return describe(sel.topic, p, err)
		}
		cursors = append(cursors, c)
		out.message.AsOf = append(out.message.AsOf, asOf(p, offset))
	}
	return sendRows(ctx, sel, cursors, m.Limit, out)
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

// keyed is what is sent in key order: rows, or what differs between two.
type keyed interface{ frame.Row | table.Difference }

// cursor is a sequence of one partition in key order, and where it stands.
type cursor[T keyed] struct {
	p     *keyframer.Partition
	next  func() (T, error, bool)
	stop  func()
	unpin func() error
	item  T
	ok    bool
}

func openCursor(p *keyframer.Partition, open opener) (*cursor[frame.Row], int64, error) {
	offset, rows, unpin, err := open(p)
	if err != nil {
		return nil, 0, err
	}
	c, err := newCursor(p, rows, unpin)
	return c, offset, err
}

// newCursor stands at the first of a sequence. unpin is called by close, and after an error.
func newCursor[T keyed](p *keyframer.Partition, items iter.Seq2[T, error], unpin func() error) (*cursor[T], error) {
	c := &cursor[T]{p: p, unpin: unpin}
	c.next, c.stop = iter.Pull2(items)
	if err := c.advance(); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *cursor[T]) advance() (err error) {
	c.item, err, c.ok = c.next()
	return err
}

func (c *cursor[T]) close() {
	c.stop()
	_ = c.unpin() // of iterators that were only read
}

func (c *cursor[T]) key() []byte {
	switch item := any(&c.item).(type) {
	case *frame.Row:
		return item.Key
	case *table.Difference:
		return item.Key
	}
	return nil
}

func closeAll[T keyed](cursors []*cursor[T]) {
	for _, c := range cursors {
		c.close()
	}
}

// least returns the cursor with the lowest key, of equal ones the first; nil at the end.
func least[T keyed](cursors []*cursor[T]) *cursor[T] {
	var best *cursor[T]
	for _, c := range cursors {
		if c.ok && (best == nil || bytes.Compare(c.key(), best.key()) < 0) {
			best = c
		}
	}
	return best
}

// sendRows merges the partitions by key. It ends between two keys once limit rows are out.
func sendRows(ctx context.Context, sel selection, cursors []*cursor[frame.Row], limit int64, out *outbox[api.ScanResponse]) error {
	var last []byte
	sent := int64(0)
	for c := least(cursors); c != nil; c = least(cursors) {
		if limit > 0 && sent >= limit && !bytes.Equal(last, c.key()) {
			out.message.Next = &api.Cursor{Key: last}
			return out.flush()
		}
		row, size := rowOf(c.p, &c.item), rowBytes(&c.item)
		last = row.Key
		out.message.Rows = append(out.message.Rows, row)
		sent++
		if err := c.advance(); err != nil {
			return describe(sel.topic, c.p, err)
		}
		if err := out.added(ctx, size); err != nil {
			return describe(sel.topic, nil, err)
		}
	}
	return out.close()
}
