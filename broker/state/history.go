package state

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
)

// History implements the call.
func (s *service) History(ctx context.Context, req *connect.Request[api.HistoryRequest], stream *connect.ServerStream[api.HistoryResponse]) error {
	return s.historyTo(ctx, req.Msg, stream.Send)
}

func (s *service) historyTo(ctx context.Context, m *api.HistoryRequest, send func(*api.HistoryResponse) error) error {
	sel, err := s.selectPartitions(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	from, to, err := sel.span(m.From, m.To)
	if err != nil {
		return err
	}
	ctx, end, err := s.beginScan(ctx, m.Topic)
	if err != nil {
		return err
	}
	defer end()
	w := &versionWriter{ctx: ctx, send: send, message: &api.HistoryResponse{}, first: true}
	for i, p := range sel.partitions {
		w.message.From, w.message.To = append(w.message.From, asOf(p, from[i])), append(w.message.To, asOf(p, to[i]))
	}
	for i, p := range sel.partitions {
		if err := w.history(p, m.Key, from[i], to[i]); err != nil {
			return describe(sel.topic, p, err)
		}
	}
	return w.close()
}

// span returns where the deltas of a range begin and end in each partition: unset points are all that there are.
func (sel selection) span(fromAt, toAt *api.At) (from, to []int64, err error) {
	if fromAt != nil {
		if from, err = sel.resolve(fromAt); err != nil {
			return nil, nil, err
		}
	}
	if to, err = sel.end(toAt); err != nil {
		return nil, nil, err
	}
	for i, p := range sel.partitions {
		switch {
		case fromAt == nil:
			from = append(from, min(p.Bounds().DeltaStart, to[i]))
		case from[i] > to[i]:
			return nil, nil, connect.NewError(connect.CodeInvalidArgument, errors.New("from lies behind to"))
		}
	}
	return from, to, nil
}

// versionWriter sends versions in messages.
type versionWriter struct {
	ctx     context.Context // of the call
	send    func(*api.HistoryResponse) error
	message *api.HistoryResponse
	size    int
	first   bool // nothing was sent yet
}

func (w *versionWriter) history(p *keyframer.Partition, key []byte, from, to int64) error {
	l, err := p.Live()
	if err != nil {
		return err
	}
	for v, err := range l.History(w.ctx, key, from, to, p.Log()) {
		if err != nil {
			return err
		}
		w.message.Versions = append(w.message.Versions, versionOf(p, &v))
		w.size += len(key) + len(v.Row.Value) + len(v.Row.Headers) + len(v.Delta) + 64
		if len(w.message.Versions) < messageRows && w.size < messageBytes {
			continue
		}
		if err := w.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (w *versionWriter) flush() error {
	err := firstError(w.ctx.Err(), w.send(w.message))
	w.message, w.size, w.first = &api.HistoryResponse{}, 0, false
	return err
}

// close sends what is left; the first message goes out even without versions, for its points.
func (w *versionWriter) close() error {
	if !w.first && len(w.message.Versions) == 0 {
		return nil
	}
	return w.flush()
}

func versionOf(p *keyframer.Partition, v *live.Version) *api.Version {
	out := &api.Version{
		Deleted: !v.Exists, Op: v.Op, Delta: append([]byte(nil), v.Delta...), Expired: v.Expired, Offset: v.Offset, TimestampMs: v.Timestamp,
		Row: &api.Row{Partition: p.Index, Key: append([]byte{}, v.Row.Key...)},
	}
	if v.Exists {
		out.Row = rowOf(p, &v.Row)
	}
	if v.Rejected != 0 {
		out.Rejected = v.Rejected.String()
	}
	return out
}
