package state

import (
	"context"
	"encoding/binary"

	"connectrpc.com/connect"

	api "github.com/keyframelog/keyframe/proto/state"
)

// Tags implements the call.
func (s *service) Tags(ctx context.Context, req *connect.Request[api.TagsRequest], stream *connect.ServerStream[api.TagsResponse]) error {
	ctx, r, err := s.openRepair(ctx, req.Msg)
	if err != nil {
		return err
	}
	defer r.close()
	answer := &api.TagsResponse{Frame: r.message}
	for tags := r.Tags(); len(tags) > 0 || answer.Frame != nil; {
		n := min(len(tags), messageBytes/8)
		answer.Tags = appendTags(make([]byte, 0, 8*n), tags[:n])
		if err := firstError(ctx.Err(), stream.Send(answer)); err != nil {
			return r.describe(err)
		}
		tags = tags[n:]
		answer = &api.TagsResponse{}
	}
	return nil
}

func appendTags(b []byte, tags []uint64) []byte {
	for _, tag := range tags {
		b = binary.BigEndian.AppendUint64(b, tag)
	}
	return b
}
