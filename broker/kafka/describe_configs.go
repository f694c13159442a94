package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/configs"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describeConfigs shows the configs of topics, brokers, groups, subscriptions and loggers, with where each value comes from.
func (h *Handler) describeConfigs(_ context.Context, _ *wire.Request, req *kmsg.DescribeConfigsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	seen := map[resource]bool{} // an answer is a thousand times larger than its question
	for _, rr := range req.Resources {
		if r := (resource{rr.ResourceType, rr.ResourceName}); seen[r] {
			continue
		} else {
			seen[r] = true
		}
		out := kmsg.DescribeConfigsResponseResource{ResourceType: rr.ResourceType, ResourceName: rr.ResourceName}
		values, err := h.valuesOf(rr)
		if err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		for _, v := range values {
			if rr.ConfigNames == nil || slices.Contains(rr.ConfigNames, v.Name) {
				out.Configs = append(out.Configs, shown(v, req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) valuesOf(rr kmsg.DescribeConfigsRequestResource) ([]configs.Value, error) {
	if rr.ResourceType != kmsg.ConfigResourceTypeTopic {
		return h.cfg.Configs.Describe(configs.Resource{Type: configs.Type(rr.ResourceType), Name: rr.ResourceName})
	}
	if err := topics.CheckName(rr.ResourceName); err != nil {
		return nil, err
	}
	t, ok := h.cfg.Registry.Get(rr.ResourceName)
	if !ok {
		return nil, &refusal{unknownTopicOrPartition, fmt.Sprintf("The topic '%s' does not exist.", rr.ResourceName)}
	}
	return h.topicValues(t.Config()), nil
}

// topicValues are a topic's configs: its own value, or the broker's, or the default.
func (h *Handler) topicValues(cfg *topics.Config) []configs.Value {
	var list []configs.Value
	for _, d := range topics.Definitions() {
		value, set := cfg.Value(d.Name)
		v := configs.Value{Name: d.Name, Value: &value, Source: configs.SourceDefault, Type: d.Type, Doc: d.Doc}
		if set {
			v.Synonyms = append(v.Synonyms, configs.Synonym{Name: d.Name, Value: value, Source: configs.SourceTopic})
		}
		if d.Synonym != "" {
			v.Synonyms = append(v.Synonyms, h.cfg.Configs.Chain(d.Synonym)...)
		}
		if len(v.Synonyms) > 0 {
			v.Source = v.Synonyms[0].Source
		}
		list = append(list, v)
	}
	return list
}

// shown is a value as it was asked for.
func shown(v configs.Value, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.DescribeConfigsResponseResourceConfig{
		Name: v.Name, Value: v.Value, ReadOnly: v.ReadOnly, IsDefault: v.Source == configs.SourceDefault, Source: kmsg.ConfigSource(v.Source),
		ConfigType: kmsg.ConfigType(v.Type),
	}
	if req.IncludeDocumentation {
		c.Documentation = &v.Doc
	}
	if req.IncludeSynonyms {
		for _, s := range v.Synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: &s.Value, Source: kmsg.ConfigSource(s.Source)})
		}
	}
	return c
}
