package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// alteredResource is a resource as a request names it.
type alteredResource struct {
	kind kmsg.ConfigResourceType
	name string
}

var (
	errResourceTwice = &refusal{invalidRequest, "Each resource must appear at most once."}
	errConfigTwice   = &refusal{invalidRequest, "Error due to duplicate config keys"}
)

func nullValue(name string) error {
	return &refusal{invalidRequest, "Null value not supported for : " + name}
}

func unknownResource(kind kmsg.ConfigResourceType) error {
	return &refusal{invalidRequest, fmt.Sprintf("Unknown resource type %d", int8(kind))}
}

// incrementalAlterConfigs changes configs one by one (KIP-339), of each resource all or none.
func (h *Handler) incrementalAlterConfigs(ctx context.Context, _ *wire.Request, req *kmsg.IncrementalAlterConfigsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	seen := map[alteredResource]int{}
	for _, rr := range req.Resources {
		seen[alteredResource{rr.ResourceType, rr.ResourceName}]++
	}
	for _, rr := range req.Resources {
		out := kmsg.IncrementalAlterConfigsResponseResource{ResourceType: rr.ResourceType, ResourceName: rr.ResourceName}
		err := error(errResourceTwice)
		if seen[alteredResource{rr.ResourceType, rr.ResourceName}] == 1 {
			err = h.changeConfigs(ctx, rr, req.ValidateOnly)
		}
		if err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		resp.Resources = append(resp.Resources, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) changeConfigs(ctx context.Context, rr kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	seen := make(map[string]bool, len(rr.Configs))
	var changes []topics.Change
	for _, c := range rr.Configs {
		change := topics.Change{Name: c.Name, Op: topics.Op(c.Op)}
		switch {
		case seen[c.Name]:
			return errConfigTwice
		case change.Op < topics.OpSet || change.Op > topics.OpSubtract:
			return &refusal{unknownServerError, fmt.Sprintf("Unknown operation %d for %s", c.Op, c.Name)}
		case c.Value == nil && change.Op != topics.OpDelete:
			return nullValue(c.Name)
		case c.Value != nil:
			change.Value = *c.Value
		}
		seen[c.Name] = true
		changes = append(changes, change)
	}
	return h.alterResource(rr.ResourceType, rr.ResourceName,
		func() error { return h.cfg.Registry.AlterConfigs(ctx, rr.ResourceName, changes, validateOnly) },
		func(r configs.Resource) error { return h.cfg.Configs.Alter(ctx, r, changes, validateOnly) })
}

// alterResource does to a topic, or to another resource, what a request asks of it.
func (h *Handler) alterResource(kind kmsg.ConfigResourceType, name string, topic func() error, other func(configs.Resource) error) error {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if name == "" {
			return &refusal{invalidRequest, "Default topic resources are not allowed."}
		}
		if err := topics.CheckName(name); err != nil {
			return err
		}
		err := topic()
		if errors.Is(err, topics.ErrNotFound) {
			return &refusal{unknownTopicOrPartition, fmt.Sprintf("The topic '%s' does not exist.", name)}
		}
		return err
	case kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig:
		return other(configs.Resource{Type: configs.Type(kind), Name: name})
	}
	return unknownResource(kind)
}
