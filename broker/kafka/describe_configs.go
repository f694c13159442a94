package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// describeConfigs shows the configs of topics and of the broker, with where each value comes from.
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
		configs, err := h.configsOf(rr)
		if err != nil {
			out.ErrorCode, out.ErrorMessage = refusalOf(err)
		}
		for _, c := range configs {
			if rr.ConfigNames == nil || slices.Contains(rr.ConfigNames, c.Name) {
				out.Configs = append(out.Configs, shown(c, req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return wire.Reply(resp)
}

func (h *Handler) configsOf(rr kmsg.DescribeConfigsRequestResource) ([]kmsg.DescribeConfigsResponseResourceConfig, error) {
	switch rr.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := topics.CheckName(rr.ResourceName); err != nil {
			return nil, err
		}
		t, ok := h.cfg.Registry.Get(rr.ResourceName)
		if !ok {
			return nil, &refusal{unknownTopicOrPartition, "This server does not host this topic-partition."}
		}
		return topicConfigs(t.Config()), nil
	case kmsg.ConfigResourceTypeBroker:
		if name := rr.ResourceName; name != "" && name != strconv.Itoa(int(NodeID)) {
			return nil, &refusal{invalidRequest, fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", NodeID, name)}
		}
		return h.brokerConfigs(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		return nil, nil
	}
	return nil, &refusal{invalidRequest, fmt.Sprintf("Unsupported resource type: %d", rr.ResourceType)}
}

// shown drops what was not asked for.
func shown(c kmsg.DescribeConfigsResponseResourceConfig, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	if !req.IncludeSynonyms {
		c.ConfigSynonyms = nil
	}
	if !req.IncludeDocumentation {
		c.Documentation = nil
	}
	return c
}

func topicConfigs(cfg *topics.Config) []kmsg.DescribeConfigsResponseResourceConfig {
	var out []kmsg.DescribeConfigsResponseResourceConfig
	for _, d := range topics.Definitions() {
		value, set := cfg.Value(d.Name)
		c := kmsg.DescribeConfigsResponseResourceConfig{
			Name: d.Name, Value: ptr(value), IsDefault: !set, Source: configSource(set), ConfigType: kmsg.ConfigType(d.Type), Documentation: ptr(d.Doc),
		}
		if set {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: d.Name, Value: ptr(value), Source: kmsg.ConfigSourceDynamicTopicConfig})
		}
		if d.Synonym != "" {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: d.Synonym, Value: ptr(d.Default), Source: kmsg.ConfigSourceDefaultConfig})
		}
		out = append(out, c)
	}
	return out
}

func configSource(set bool) kmsg.ConfigSource {
	if set {
		return kmsg.ConfigSourceDynamicTopicConfig
	}
	return kmsg.ConfigSourceDefaultConfig
}

// brokerConfigs are the broker's own settings, in Kafka's names, and the defaults that topics take from it.
func (h *Handler) brokerConfigs() []kmsg.DescribeConfigsResponseResourceConfig {
	add := func(out []kmsg.DescribeConfigsResponseResourceConfig, name, value string, kind kmsg.ConfigType, source kmsg.ConfigSource, doc string) []kmsg.DescribeConfigsResponseResourceConfig {
		return append(out, kmsg.DescribeConfigsResponseResourceConfig{
			Name: name, Value: ptr(value), ReadOnly: true, IsDefault: source == kmsg.ConfigSourceDefaultConfig, Source: source, ConfigType: kind, Documentation: ptr(doc),
			ConfigSynonyms: []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{{Name: name, Value: ptr(value), Source: source}},
		})
	}
	static, byDefault := kmsg.ConfigSourceStaticBrokerConfig, kmsg.ConfigSourceDefaultConfig
	var out []kmsg.DescribeConfigsResponseResourceConfig
	out = add(out, "auto.create.topics.enable", strconv.FormatBool(!h.cfg.NoAutoCreate), kmsg.ConfigTypeBoolean, static, "Whether a topic that a client asks for by name is created.")
	out = add(out, "broker.id", strconv.Itoa(int(NodeID)), kmsg.ConfigTypeInt, static, "The number of this broker.")
	out = add(out, "node.id", strconv.Itoa(int(NodeID)), kmsg.ConfigTypeInt, static, "The number of this node.")
	out = add(out, "default.replication.factor", "1", kmsg.ConfigTypeInt, byDefault, "There is one replica of everything.")
	out = add(out, "fetch.max.bytes", strconv.Itoa(h.cfg.FetchMaxBytes), kmsg.ConfigTypeInt, byDefault, "The largest answer to a fetch, in bytes; one batch always passes.")
	out = add(out, "num.partitions", strconv.Itoa(int(h.cfg.Registry.DefaultPartitions())), kmsg.ConfigTypeInt, static, "The partitions of a topic that is created without a number.")
	for _, d := range topics.Definitions() {
		if d.Synonym != "" {
			out = add(out, d.Synonym, d.Default, kmsg.ConfigType(d.Type), byDefault, d.Doc)
		}
	}
	slices.SortFunc(out, func(a, b kmsg.DescribeConfigsResponseResourceConfig) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}
