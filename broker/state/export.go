package state

import (
	"context"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// Export implements the call.
func (s *service) Export(ctx context.Context, req *connect.Request[api.ExportRequest], stream *connect.ServerStream[api.ExportResponse]) error {
	m := req.Msg
	sel, err := s.onlyPartition(m.Topic, m.Partition)
	if err != nil {
		return err
	}
	p := sel.partitions[0]
	offset := p.Bounds().LastStable
	if m.At != nil {
		offsets, err := sel.resolve(m.At)
		if err != nil {
			return err
		}
		offset = offsets[0]
	}
	ctx, end, err := s.beginScan(ctx, m.Topic)
	if err != nil {
		return err
	}
	defer end()
	l, err := p.Live()
	if err != nil {
		return describe(sel.topic, p, err)
	}
	past, err := l.At(ctx, offset, p.Log())
	if err != nil {
		return describe(sel.topic, p, err)
	}
	chunks := &chunkWriter{ctx: ctx, stream: stream, message: &api.ExportResponse{AsOf: asOf(p, offset)}}
	err = firstError(s.export(sel.topic, p, past, offset, chunks), chunks.flush())
	return describe(sel.topic, p, firstError(err, past.Close()))
}

// export writes the state at an offset in the frame format.
func (s *service) export(t *keyframer.Topic, p *keyframer.Partition, past *live.Past, offset int64, w *chunkWriter) error {
	d, err := past.Digest()
	if err != nil {
		return err
	}
	below := frameBelow(p, offset)
	id := digest.FrameID{TopicID: t.ID, Partition: p.Index, Incarnation: p.Incarnation, Cut: offset, Start: past.Start()}
	out := frame.NewWriter(w, frame.Header{
		TopicID: t.ID, Partition: p.Index, Incarnation: p.Incarnation, Cut: offset, Start: past.Start(), Since: -1, Fold: t.Fold,
		CutTimeMs: s.cfg.Now().UnixMilli(),
	})
	for row, err := range past.Export(0, false) {
		if err != nil {
			return err
		}
		if err := out.Append(&row); err != nil {
			return err
		}
	}
	return out.Close(frame.Footer{Digest: d, Pub: d.Pub(id), Rejected: below.Rejected, Rows: uint64(d.Count)})
}

// frameBelow is the newest frame at or below an offset, or the zero frame.
func frameBelow(p *keyframer.Partition, offset int64) (below table.Frame) {
	t, err := p.Table()
	if err != nil {
		return below
	}
	for _, f := range t.Frames() {
		if f.Cut <= offset {
			below = f
		}
	}
	return below
}

// chunkWriter sends what is written in messages.
type chunkWriter struct {
	ctx     context.Context // of the call
	stream  *connect.ServerStream[api.ExportResponse]
	message *api.ExportResponse
}

func (w *chunkWriter) Write(b []byte) (int, error) {
	w.message.Data = append(w.message.Data, b...)
	if len(w.message.Data) < messageBytes {
		return len(b), nil
	}
	return len(b), firstError(w.ctx.Err(), w.flush())
}

func (w *chunkWriter) flush() error {
	if len(w.message.Data) == 0 && w.message.AsOf == nil {
		return nil
	}
	err := w.stream.Send(w.message)
	w.message = &api.ExportResponse{}
	return err
}
