package state

import (
	"context"
	"encoding/binary"
	"fmt"

	"connectrpc.com/connect"

	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
)

// resolveMax bounds the tags of one request.
const resolveMax = 1 << 17

// Resolve implements the call.
func (s *service) Resolve(ctx context.Context, req *connect.Request[api.ResolveRequest], stream *connect.ServerStream[api.ResolveResponse]) error {
	m := req.Msg
	if len(m.Tags)%8 != 0 || len(m.Tags)/8 > resolveMax {
		return connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("tags are of 8 bytes, and a request has at most %d: these are %d bytes", resolveMax, len(m.Tags)))
	}
	tags := make([]uint64, len(m.Tags)/8)
	for i := range tags {
		tags[i] = binary.BigEndian.Uint64(m.Tags[8*i:])
	}
	ctx, end, err := s.beginScan(ctx, m.Topic)
	if err != nil {
		return err
	}
	defer end()
	ctx, r, err := s.openRepair(ctx, m)
	if err != nil {
		return err
	}
	defer r.close()
	out := &outbox[api.ResolveResponse]{send: stream.Send, message: &api.ResolveResponse{}}
	unknown, err := r.Rows(ctx, tags, func(row *frame.Row) error {
		out.message.Rows = append(out.message.Rows, rowOf(r.partition, row))
		return out.added(ctx, rowBytes(row))
	})
	if err != nil {
		return r.describe(err)
	}
	out.message.Unknown = appendTags(nil, unknown)
	return out.flush()
}
