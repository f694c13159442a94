package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/wire"
)

// alterClientQuotas sets and removes quotas, each entity for itself, or only checks it. What is not refused is durable with the answer,
// and holds from then on.
func (h *Handler) alterClientQuotas(_ context.Context, _ *wire.Request, req *kmsg.AlterClientQuotasRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.AlterClientQuotasResponse)
	changes := make([]quota.Change, 0, len(req.Entries))
	for _, e := range req.Entries {
		var c quota.Change
		out := kmsg.AlterClientQuotasResponseEntry{}
		for _, p := range e.Entity {
			c.Parts = append(c.Parts, quota.Part{Type: p.Type, Name: p.Name})
			out.Entity = append(out.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: p.Type, Name: p.Name})
		}
		for _, op := range e.Ops {
			c.Ops = append(c.Ops, quota.Op{Key: op.Key, Value: op.Value, Remove: op.Remove})
		}
		changes, resp.Entries = append(changes, c), append(resp.Entries, out)
	}
	for i, err := range h.cfg.Quotas.Alter(changes, req.ValidateOnly) {
		if err != nil {
			resp.Entries[i].ErrorCode, resp.Entries[i].ErrorMessage = quotaRefusal(err)
		}
	}
	return wire.Reply(resp)
}
