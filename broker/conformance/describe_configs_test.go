package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeConfigs(c *conn, version int16, kind kmsg.ConfigResourceType, name string, only ...string) kmsg.DescribeConfigsResponseResource {
	c.t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: only}}
	resp := do[*kmsg.DescribeConfigsResponse](c, req)
	require.Len(c.t, resp.Resources, 1)
	return resp.Resources[0]
}

func configNamed(t *testing.T, r kmsg.DescribeConfigsResponseResource, name string) kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	for _, c := range r.Configs {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no config "+name)
	return kmsg.DescribeConfigsResponseResourceConfig{}
}

func TestDescribeConfigsOfATopic(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "retention.ms", "777")
	for version := int16(1); version <= 4; version++ {
		r := describeConfigs(c, version, kmsg.ConfigResourceTypeTopic, tp.name)
		require.Zero(t, r.ErrorCode)
		set := configNamed(t, r, "retention.ms")
		require.Equal(t, "777", *set.Value)
		require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, set.Source)
		require.Equal(t, "retention.ms", set.ConfigSynonyms[0].Name)
		require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, set.ConfigSynonyms[0].Source)
		byDefault := configNamed(t, r, "cleanup.policy")
		require.Equal(t, "delete", *byDefault.Value)
		require.Equal(t, kmsg.ConfigSourceDefaultConfig, byDefault.Source)
		require.Equal(t, "log.cleanup.policy", byDefault.ConfigSynonyms[0].Name)
		if version >= 3 {
			require.Equal(t, kmsg.ConfigTypeLong, set.ConfigType)
			require.Equal(t, kmsg.ConfigTypeList, byDefault.ConfigType)
			require.NotEmpty(t, *set.Documentation)
		}
	}
}

func TestDescribeConfigsOnlySome(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	r := describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, tp.name, "retention.ms", "no.such.config")
	require.Len(t, r.Configs, 1)
	require.Equal(t, "retention.ms", r.Configs[0].Name)
}

func TestDescribeConfigsOfTheBroker(t *testing.T) {
	c := start(t).dial(t)
	r := describeConfigs(c, 4, kmsg.ConfigResourceTypeBroker, "1")
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "true", *configNamed(t, r, "auto.create.topics.enable").Value)
	require.Equal(t, "delete", *configNamed(t, r, "log.cleanup.policy").Value)
}

func TestDescribeConfigsRefusals(t *testing.T) {
	c := start(t).dial(t)
	require.Equal(t, int16(3), describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, topicName(t)).ErrorCode)
	require.Equal(t, int16(17), describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, "a/b").ErrorCode)
	require.Equal(t, int16(42), describeConfigs(c, 4, kmsg.ConfigResourceTypeBroker, "99").ErrorCode)
	require.NotZero(t, describeConfigs(c, 4, kmsg.ConfigResourceType(99), "x").ErrorCode)
}
