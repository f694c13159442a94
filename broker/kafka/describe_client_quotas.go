package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describeClientQuotas lists the quotas of the entities that match (KIP-546).
func (h *Handler) describeClientQuotas(_ context.Context, _ *wire.Request, req *kmsg.DescribeClientQuotasRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeClientQuotasResponse)
	matches := make([]quota.Match, 0, len(req.Components))
	for _, c := range req.Components {
		matches = append(matches, quota.Match{Type: c.EntityType, Kind: int8(c.MatchType), Name: c.Match})
	}
	all, err := h.cfg.Quotas.Describe(matches, req.Strict)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = quotaRefusal(err)
		return wire.Reply(resp)
	}
	resp.Entries = make([]kmsg.DescribeClientQuotasResponseEntry, 0, len(all))
	for _, q := range all {
		var out kmsg.DescribeClientQuotasResponseEntry
		for _, p := range quota.PartsOf(q.Entity) {
			out.Entity = append(out.Entity, kmsg.DescribeClientQuotasResponseEntryEntity{Type: p.Type, Name: p.Name})
		}
		for _, v := range q.Values {
			out.Values = append(out.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: v.Name, Value: v.Value})
		}
		resp.Entries = append(resp.Entries, out)
	}
	return wire.Reply(resp)
}

func quotaRefusal(err error) (int16, *string) {
	if r, ok := err.(*quota.Refusal); ok {
		if r.Unsupported {
			return unsupportedVersion, &r.Text
		}
		return invalidRequest, &r.Text
	}
	return codeOf(err), ptr(err.Error())
}
