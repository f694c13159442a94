package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/wire"
)

// alterConfigs replaces everything that is set on each resource. Clients should use incrementalAlterConfigs (KIP-339).
func (h *Handler) alterConfigs(ctx context.Context, _ *wire.Request, req *kmsg.AlterConfigsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.AlterConfigsResponse)
	seen := map[alteredResource]int{}
	for _, rr := range req.Resources {
		seen[alteredResource{rr.ResourceType, rr.ResourceName}]++
	}
	for _, rr := range req.Resources {
		out := kmsg.AlterConfigsResponseResource{ResourceType: rr.ResourceType, ResourceName: rr.ResourceName}
		err := error(errResourceTwice)
		if seen[alteredResource{rr.ResourceType, rr.ResourceName}] == 1 {
			err = h.replaceConfigs(ctx, rr, req.ValidateOnly)
		}
		if err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) replaceConfigs(ctx context.Context, rr kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	set := make(map[string]string, len(rr.Configs))
	for _, c := range rr.Configs {
		if _, twice := set[c.Name]; twice {
			return errConfigTwice
		}
		if c.Value == nil {
			return nullValue(c.Name)
		}
		set[c.Name] = *c.Value
	}
	if rr.ResourceType == kmsg.ConfigResourceTypeBrokerLogger {
		return unknownResource(rr.ResourceType) // there is no replacing of loggers
	}
	return h.alterResource(rr.ResourceType, rr.ResourceName,
		func() error {
			if validateOnly {
				return h.cfg.Registry.CheckConfigs(ctx, rr.ResourceName, set)
			}
			return h.cfg.Registry.SetConfigs(ctx, rr.ResourceName, set)
		},
		func(r configs.Resource) error { return h.cfg.Configs.Replace(ctx, r, set, validateOnly) })
}
