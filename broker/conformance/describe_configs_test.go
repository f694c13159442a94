package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestDescribeConfigsOfATopic(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "retention.ms", "777")
	for version := int16(1); version <= 4; version++ {
		r := raw.DescribeConfigs(c, version, kmsg.ConfigResourceTypeTopic, tp.Name)
		require.Zero(t, r.ErrorCode)
		set := raw.ConfigNamed(t, r, "retention.ms")
		require.Equal(t, "777", *set.Value)
		require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, set.Source)
		require.Equal(t, "retention.ms", set.ConfigSynonyms[0].Name)
		require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, set.ConfigSynonyms[0].Source)
		byDefault := raw.ConfigNamed(t, r, "cleanup.policy")
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
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	r := raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, tp.Name, "retention.ms", "no.such.config")
	require.Len(t, r.Configs, 1)
	require.Equal(t, "retention.ms", r.Configs[0].Name)
}

func TestDescribeConfigsOfTheBroker(t *testing.T) {
	c := start(t).Dial(t)
	r := raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeBroker, "1")
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "true", *raw.ConfigNamed(t, r, "auto.create.topics.enable").Value)
	require.Equal(t, "delete", *raw.ConfigNamed(t, r, "log.cleanup.policy").Value)
}

func TestDescribeConfigsRefusals(t *testing.T) {
	c := start(t).Dial(t)
	require.Equal(t, int16(3), raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, raw.TopicName(t)).ErrorCode)
	require.Equal(t, int16(17), raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, "a/b").ErrorCode)
	require.Equal(t, int16(42), raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeBroker, "99").ErrorCode)
	require.NotZero(t, raw.DescribeConfigs(c, 4, kmsg.ConfigResourceType(99), "x").ErrorCode)
}

// What tools ask of a broker, and of what is neither broker nor topic.
func TestDescribeConfigsThatToolsRead(t *testing.T) {
	c := start(t).Dial(t)
	r := raw.DescribeConfigs(c, 4, ofBroker, "1")
	require.Zero(t, r.ErrorCode)
	for _, name := range []string{"advertised.listeners", "auto.create.topics.enable", "broker.id", "compression.type", "default.replication.factor",
		"group.initial.rebalance.delay.ms", "listeners", "log.dirs", "log.retention.hours", "message.max.bytes", "min.insync.replicas", "node.id", "num.partitions",
		"offsets.retention.minutes", "process.roles", "transaction.max.timeout.ms", "unclean.leader.election.enable"} {
		v := raw.ConfigNamed(t, r, name)
		require.NotNil(t, v.Value, name)
		require.NotEmpty(t, *v.Documentation, name)
		require.NotZero(t, v.ConfigType, name)
		require.NotEmpty(t, v.ConfigSynonyms, name)
		require.False(t, v.IsSensitive, name)
	}
	b := raw.Metadata(c, 12, false).Brokers[0]
	require.Equal(t, fmt.Sprintf("PLAINTEXT://%s:%d", b.Host, b.Port), *raw.ConfigNamed(t, r, "advertised.listeners").Value, "what Metadata tells clients")
	require.True(t, raw.ConfigNamed(t, r, "broker.id").ReadOnly)
	require.False(t, raw.ConfigNamed(t, r, "message.max.bytes").ReadOnly)
	require.Equal(t, kmsg.ConfigSourceStaticBrokerConfig, raw.ConfigNamed(t, r, "log.dirs").Source)
	require.Nil(t, raw.ConfigNamed(t, r, "log.retention.ms").Value)
	for _, v := range r.Configs {
		require.NotEqual(t, "inter.broker.protocol.version", v.Name)
	}
	require.Zero(t, raw.DescribeConfigs(c, 4, ofBroker, "").ErrorCode)

	logger := raw.DescribeConfigs(c, 4, ofLogger, "1")
	require.Zero(t, logger.ErrorCode)
	require.Equal(t, kmsg.ConfigSourceDynamicBrokerLoggerConfig, raw.ConfigNamed(t, logger, "root").Source)

	metrics := raw.DescribeConfigs(c, 4, ofMetrics, raw.TopicName(t))
	require.Zero(t, metrics.ErrorCode)
	require.Len(t, metrics.Configs, 3)
	group := raw.DescribeConfigs(c, 4, ofGroup, raw.TopicName(t))
	require.Zero(t, group.ErrorCode)
	require.Equal(t, "5000", *raw.ConfigNamed(t, group, "consumer.heartbeat.interval.ms").Value)
}

// Every topic config that Kafka has, with its type and its broker's name.
func TestDescribeConfigsOfATopicAreKafkas(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	r := raw.DescribeConfigs(c, 4, ofTopic, tp.Name)
	boolean, text, integer, long, double, list := kmsg.ConfigTypeBoolean, kmsg.ConfigTypeString, kmsg.ConfigTypeInt, kmsg.ConfigTypeLong, kmsg.ConfigTypeDouble, kmsg.ConfigTypeList
	for name, want := range map[string]struct {
		kind    kmsg.ConfigType
		synonym string // "": none with a value
	}{
		"cleanup.policy": {list, "log.cleanup.policy"}, "compression.gzip.level": {integer, "compression.gzip.level"}, "compression.lz4.level": {integer, "compression.lz4.level"},
		"compression.type": {text, "compression.type"}, "compression.zstd.level": {integer, "compression.zstd.level"},
		"delete.retention.ms": {long, "log.cleaner.delete.retention.ms"}, "file.delete.delay.ms": {long, "log.segment.delete.delay.ms"},
		"flush.messages": {long, "log.flush.interval.messages"}, "flush.ms": {long, ""}, "follower.replication.throttled.replicas": {list, ""},
		"index.interval.bytes": {integer, "log.index.interval.bytes"}, "leader.replication.throttled.replicas": {list, ""},
		"local.retention.bytes": {long, "log.local.retention.bytes"}, "local.retention.ms": {long, "log.local.retention.ms"},
		"max.compaction.lag.ms": {long, "log.cleaner.max.compaction.lag.ms"}, "max.message.bytes": {integer, "message.max.bytes"},
		"message.timestamp.after.max.ms": {long, "log.message.timestamp.after.max.ms"}, "message.timestamp.before.max.ms": {long, "log.message.timestamp.before.max.ms"},
		"message.timestamp.type": {text, "log.message.timestamp.type"}, "min.cleanable.dirty.ratio": {double, "log.cleaner.min.cleanable.ratio"},
		"min.compaction.lag.ms": {long, "log.cleaner.min.compaction.lag.ms"}, "min.insync.replicas": {integer, "min.insync.replicas"}, "preallocate": {boolean, "log.preallocate"},
		"remote.log.copy.disable": {boolean, ""}, "remote.log.delete.on.disable": {boolean, ""}, "remote.storage.enable": {boolean, ""},
		"retention.bytes": {long, "log.retention.bytes"}, "retention.ms": {long, ""}, "segment.bytes": {integer, "log.segment.bytes"},
		"segment.index.bytes": {integer, "log.index.size.max.bytes"}, "segment.jitter.ms": {long, ""}, "segment.ms": {long, ""},
		"unclean.leader.election.enable": {boolean, "unclean.leader.election.enable"},
	} {
		v := raw.ConfigNamed(t, r, name)
		require.Equal(t, want.kind, v.ConfigType, name)
		require.False(t, v.ReadOnly, name)
		if want.synonym == "" {
			require.Empty(t, v.ConfigSynonyms, name)
		} else {
			last := v.ConfigSynonyms[len(v.ConfigSynonyms)-1]
			require.Equal(t, want.synonym, last.Name)
			require.Equal(t, byDefaultSource, last.Source)
		}
	}
}

func TestDescribeConfigsOnlyWhatIsAskedFor(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "segment.bytes", "1048576")
	req := &kmsg.DescribeConfigsRequest{Version: 4, Resources: []kmsg.DescribeConfigsRequestResource{
		{ResourceType: ofTopic, ResourceName: tp.Name, ConfigNames: []string{"segment.bytes"}}, {ResourceType: ofBroker, ResourceName: "1", ConfigNames: []string{"broker.id"}}}}
	resp := raw.Do[*kmsg.DescribeConfigsResponse](c, req)
	require.Len(t, resp.Resources, 2)
	for _, r := range resp.Resources {
		require.Len(t, r.Configs, 1)
		require.Empty(t, r.Configs[0].ConfigSynonyms)
		require.Nil(t, r.Configs[0].Documentation)
	}
}

func TestDescribeConfigsRefusesNames(t *testing.T) {
	c := start(t).Dial(t)
	for _, kind := range []kmsg.ConfigResourceType{ofLogger, ofMetrics, ofGroup} {
		require.Equal(t, int16(42), raw.DescribeConfigs(c, 4, kind, "").ErrorCode, kind)
	}
	require.Equal(t, int16(42), raw.DescribeConfigs(c, 4, ofBroker, "abc").ErrorCode)
	require.Equal(t, int16(42), raw.DescribeConfigs(c, 4, ofLogger, "99").ErrorCode)
	require.Equal(t, int16(42), raw.DescribeConfigs(c, 4, 0, "x").ErrorCode)
	require.Equal(t, int16(17), raw.DescribeConfigs(c, 4, ofTopic, "").ErrorCode)
}
