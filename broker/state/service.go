package state

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
	"github.com/keyframelog/keyframe/storage/table"
)

// service implements the Connect service; one file a call.
type service struct{ *Server }

var _ stateconnect.StateServiceHandler = (*service)(nil)

// beginScan is scan for Connect calls.
func (s *service) beginScan(parent context.Context, topic string) (context.Context, func(), error) {
	ctx, end, ok := s.scan(parent)
	if !ok {
		return nil, nil, refuse(api.Reason_REASON_TOO_MANY_SCANS, &api.ErrorDetail{Topic: clip(topic)},
			"%d scans are running already: try again", s.cfg.Scans)
	}
	return ctx, end, nil
}

// rowOf copies a row into a message.
func rowOf(p *keyframer.Partition, r *frame.Row) *api.Row {
	row := &api.Row{
		Partition: p.Index, Key: append([]byte{}, r.Key...), Value: append([]byte{}, r.Value...),
		Offset: r.Offset, TimestampMs: r.Timestamp,
	}
	for key, value := range r.Headers.All() {
		h := &api.Header{Key: key}
		if value != nil {
			h.Value = append([]byte{}, value...)
		}
		row.Headers = append(row.Headers, h)
	}
	return row
}

func asOf(p *keyframer.Partition, offset int64) *api.AsOf {
	return &api.AsOf{Partition: p.Index, Incarnation: p.Incarnation[:], Offset: offset}
}

func frameOf(t *keyframer.Topic, p *keyframer.Partition, tab *table.Table, f table.Frame) *api.Frame {
	pub, sum := tab.Pub(f), f.Digest.Sum.Bytes()
	return &api.Frame{
		Partition: p.Index, TopicId: t.ID[:], Incarnation: p.Incarnation[:], Cut: f.Cut, Start: f.Start, Pub: pub[:], Sum: sum[:],
		Count: f.Digest.Count, Bytes: f.Bytes, CutTimeMs: f.CutTimeMs, Rejected: int64(f.Rejected), Fold: t.Fold.String(),
	}
}

// checkRead refuses contradictory requests.
func checkRead(at *api.At, folded bool, minOffsets []*api.PartitionOffset) error {
	given := 0
	for _, is := range []bool{at != nil, folded, len(minOffsets) > 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("at, folded and min_offsets exclude one another"))
	}
	return nil
}
