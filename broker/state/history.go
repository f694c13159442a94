package state

import (
	"context"
	"fmt"

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
	out := &outbox[api.HistoryResponse]{send: send, message: &api.HistoryResponse{}}
	for i, p := range sel.partitions {
		out.message.From, out.message.To = append(out.message.From, asOf(p, from[i])), append(out.message.To, asOf(p, to[i]))
	}
	for i, p := range sel.partitions {
		if err := sendHistory(ctx, p, m.Key, from[i], to[i], out); err != nil {
			return describe(sel.topic, p, err)
		}
	}
	return out.close()
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
			return nil, nil, connect.NewError(connect.CodeInvalidArgument,
				fmt.Errorf("from lies behind to: in partition %d it is offset %d, and to %d", p.Index, from[i], to[i]))
		}
	}
	return from, to, nil
}

// sendHistory sends what happened to a key in one partition.
func sendHistory(ctx context.Context, p *keyframer.Partition, key []byte, from, to int64, out *outbox[api.HistoryResponse]) error {
	l, err := p.Live()
	if err != nil {
		return err
	}
	for v, err := range l.History(ctx, key, from, to, p.Log()) {
		if err != nil {
			return err
		}
		out.message.Versions = append(out.message.Versions, versionOf(p, &v))
		if err := out.added(ctx, len(key)+len(v.Row.Value)+len(v.Row.Headers)+len(v.Delta)+64); err != nil {
			return err
		}
	}
	return nil
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
