package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/wire"
)

// deleteGroups removes groups without members and their offsets; a name that comes twice counts once.
func (h *Handler) deleteGroups(_ context.Context, r *wire.Request, req *kmsg.DeleteGroupsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	seen := map[string]bool{}
	for _, name := range req.Groups {
		if !seen[name] {
			seen[name] = true
			resp.Groups = append(resp.Groups, kmsg.DeleteGroupsResponseGroup{Group: name})
		}
	}
	type outcome struct {
		index int
		err   *kerr.Error
	}
	outcomes := make(chan outcome, len(resp.Groups))
	for i, g := range resp.Groups {
		h.cfg.Groups.Delete(g.Group, func(err *kerr.Error) { outcomes <- outcome{i, err} })
	}
	return wire.Later(func(ctx context.Context) wire.Message {
		for range resp.Groups {
			select {
			case o := <-outcomes:
				resp.Groups[o.index].ErrorCode = kerrCode(o.err)
			case <-ctx.Done():
				return nil
			}
		}
		return resp
	})
}
