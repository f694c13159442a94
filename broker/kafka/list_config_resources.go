package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/wire"
)

// listConfigResources lists what has configs (KIP-1142); version 0, which was another API's, subscriptions to client metrics.
func (h *Handler) listConfigResources(_ context.Context, _ *wire.Request, req *kmsg.ListConfigResourcesRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ListConfigResourcesResponse)
	supported := []int8{int8(kmsg.ConfigResourceTypeTopic), int8(configs.Broker), int8(configs.Logger), int8(configs.ClientMetrics), int8(configs.Group)}
	asked := req.ResourceTypes
	switch {
	case req.Version == 0:
		asked = []int8{int8(configs.ClientMetrics)}
	case len(asked) == 0:
		asked = supported
	}
	var types []configs.Type
	for _, t := range asked {
		if !slices.Contains(supported, t) {
			resp.ErrorCode = unsupportedVersion
			return wire.Reply(resp)
		}
		types = append(types, configs.Type(t))
	}
	add := func(name string, kind configs.Type) {
		resp.ConfigResources = append(resp.ConfigResources, kmsg.ListConfigResourcesResponseConfigResource{Name: name, Type: int8(kind)})
	}
	for _, r := range h.cfg.Configs.Resources(types...) {
		add(r.Name, r.Type)
	}
	if slices.Contains(asked, int8(kmsg.ConfigResourceTypeTopic)) {
		for _, t := range h.cfg.Registry.List() {
			add(t.Name, configs.Type(kmsg.ConfigResourceTypeTopic))
		}
	}
	return wire.Reply(resp)
}
