package state

import (
	"context"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/sketch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// messageCells is how many cells one message has: about as many bytes as one of rows.
const messageCells = messageBytes / 16

// Sketch implements the call.
func (s *service) Sketch(ctx context.Context, req *connect.Request[api.SketchRequest], stream *connect.ServerStream[api.SketchResponse]) error {
	m := req.Msg
	if uint64(m.First)+uint64(m.Cells) > sketch.CellsMax {
		return connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("a sketch has %d cells at most, and %d from %d on are wanted", sketch.CellsMax, m.Cells, m.First))
	}
	ctx, r, err := s.openRepair(ctx, m)
	if err != nil {
		return err
	}
	defer r.close()
	answer := &api.SketchResponse{Frame: r.message}
	for at, end := int(m.First), int(m.First+m.Cells); at < end || answer.Frame != nil; {
		cells, err := r.Cells(ctx, at, min(end-at, messageCells))
		if err != nil {
			return r.describe(err)
		}
		answer.Cells = sketch.Append(nil, at, r.message.Count, cells)
		if err := stream.Send(answer); err != nil {
			return err
		}
		at += len(cells)
		answer = &api.SketchResponse{}
	}
	return nil
}
