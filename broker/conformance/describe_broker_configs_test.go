package conformance_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// What brokerConfigs say of a config beside its default.
const (
	changes = "can be changed while the broker runs"
	stays   = "is read-only"
	either  = "(each broker as it likes)"
	none    = "(no default)"
)

type brokerConfig struct {
	name      string
	kind      kmsg.ConfigType
	change    string
	byDefault string
}

// brokerConfigs are the configs of a broker that both know.
func brokerConfigs() []brokerConfig {
	const boolean, text, integer, long, double, list = kmsg.ConfigTypeBoolean, kmsg.ConfigTypeString, kmsg.ConfigTypeInt, kmsg.ConfigTypeLong, kmsg.ConfigTypeDouble, kmsg.ConfigTypeList
	return []brokerConfig{
		{"advertised.listeners", list, stays, none}, {"auto.create.topics.enable", boolean, stays, "true"},
		{"background.threads", integer, changes, "10"}, {"broker.id", integer, stays, "-1"}, {"broker.rack", text, stays, none},
		{"compression.gzip.level", integer, changes, "-1"}, {"compression.lz4.level", integer, changes, "9"},
		{"compression.type", text, changes, "producer"}, {"compression.zstd.level", integer, changes, "3"},
		{"connections.max.idle.ms", long, stays, "600000"}, {"default.replication.factor", integer, stays, "1"},
		{"delete.topic.enable", boolean, stays, "true"}, {"fetch.max.bytes", integer, stays, "57671680"},
		{"group.consumer.assignors", list, stays, "uniform,range"}, {"group.consumer.heartbeat.interval.ms", integer, stays, "5000"},
		{"group.consumer.max.heartbeat.interval.ms", integer, stays, "15000"},
		{"group.consumer.max.session.timeout.ms", integer, stays, "60000"}, {"group.consumer.max.size", integer, stays, "2147483647"},
		{"group.consumer.migration.policy", text, stays, "bidirectional"}, {"group.consumer.min.heartbeat.interval.ms", integer, stays, "5000"},
		{"group.consumer.min.session.timeout.ms", integer, stays, "45000"}, {"group.consumer.session.timeout.ms", integer, stays, "45000"},
		{"group.initial.rebalance.delay.ms", integer, stays, "3000"}, {"group.max.session.timeout.ms", integer, stays, "1800000"},
		{"group.max.size", integer, stays, "2147483647"}, {"group.min.session.timeout.ms", integer, stays, "6000"},
		{"listener.security.protocol.map", text, either, either}, {"listeners", list, either, either},
		{"log.cleaner.delete.retention.ms", long, changes, "86400000"}, {"log.cleaner.enable", boolean, stays, "true"},
		{"log.cleaner.max.compaction.lag.ms", long, changes, "9223372036854775807"}, {"log.cleaner.min.cleanable.ratio", double, changes, "0.5"},
		{"log.cleaner.min.compaction.lag.ms", long, changes, "0"}, {"log.cleaner.threads", integer, changes, "1"},
		{"log.cleanup.policy", list, either, "delete"}, {"log.dir", list, stays, either}, {"log.dirs", list, stays, none},
		{"log.flush.interval.messages", long, changes, either}, {"log.flush.interval.ms", long, changes, none},
		{"log.index.interval.bytes", integer, changes, "4096"}, {"log.index.size.max.bytes", integer, changes, "10485760"},
		{"log.local.retention.bytes", long, changes, "-2"}, {"log.local.retention.ms", long, changes, "-2"},
		{"log.message.timestamp.after.max.ms", long, changes, "3600000"},
		{"log.message.timestamp.before.max.ms", long, changes, "9223372036854775807"},
		{"log.message.timestamp.type", text, changes, "CreateTime"}, {"log.preallocate", boolean, changes, "false"},
		{"log.retention.bytes", long, changes, "-1"}, {"log.retention.check.interval.ms", long, stays, either},
		{"log.retention.hours", integer, stays, "168"}, {"log.retention.minutes", integer, stays, none},
		{"log.retention.ms", long, changes, none}, {"log.roll.jitter.ms", long, changes, none}, {"log.roll.ms", long, changes, none},
		{"log.segment.bytes", integer, changes, "1073741824"}, {"log.segment.delete.delay.ms", long, changes, "60000"},
		{"max.connections", integer, either, either}, {"max.connections.per.ip", integer, either, "2147483647"},
		{"max.incremental.fetch.session.cache.slots", integer, stays, "1000"}, {"message.max.bytes", integer, changes, "1048588"},
		{"min.insync.replicas", integer, changes, "1"}, {"node.id", integer, stays, none}, {"num.io.threads", integer, changes, "8"},
		{"num.network.threads", integer, changes, "3"}, {"num.partitions", integer, stays, "1"},
		{"num.recovery.threads.per.data.dir", integer, changes, "2"}, {"num.replica.fetchers", integer, changes, "1"},
		{"offset.metadata.max.bytes", integer, stays, "4096"}, {"offsets.retention.check.interval.ms", long, stays, "600000"},
		{"offsets.retention.minutes", integer, stays, "10080"}, {"process.roles", list, stays, none},
		{"producer.id.expiration.ms", integer, either, "86400000"}, {"quota.window.num", integer, stays, "11"},
		{"quota.window.size.seconds", integer, stays, "1"}, {"socket.request.max.bytes", integer, stays, "104857600"},
		{"transaction.max.timeout.ms", integer, stays, "900000"}, {"transactional.id.expiration.ms", integer, stays, "604800000"},
		{"unclean.leader.election.enable", boolean, changes, "false"},
	}
}

// Names, types and defaults are Kafka's; package configs says where they differ, and why.
func TestDescribeConfigsOfTheBrokerAreKafkas(t *testing.T) {
	c := start(t).Dial(t)
	r := raw.DescribeConfigs(c, 4, ofBroker, "1")
	for _, want := range brokerConfigs() {
		v := raw.ConfigNamed(t, r, want.name)
		require.Equal(t, want.kind, v.ConfigType, want.name)
		require.NotEmpty(t, *v.Documentation, want.name)
		require.False(t, v.IsSensitive, want.name)
		if want.change != either {
			require.Equal(t, want.change == stays, v.ReadOnly, want.name)
		}
		byDefault := none
		for _, s := range v.ConfigSynonyms {
			require.Equal(t, want.name, s.Name)
			if s.Source == byDefaultSource {
				byDefault = *s.Value
			}
		}
		if want.byDefault != either {
			require.Equal(t, want.byDefault, byDefault, want.name)
		}
		if len(v.ConfigSynonyms) > 0 { // the value is the first one's
			require.Equal(t, v.ConfigSynonyms[0].Value, v.Value, want.name)
			require.Equal(t, v.ConfigSynonyms[0].Source, v.Source, want.name)
		} else {
			require.Nil(t, v.Value, want.name)
			require.Equal(t, byDefaultSource, v.Source, want.name)
		}
	}
}

// Tools show what was set by where it comes from: what was not is by default, and has no other value.
func TestDescribeConfigsTellsWhatWasSet(t *testing.T) {
	c := start(t).Dial(t)
	r := raw.DescribeConfigs(c, 4, ofBroker, "1")
	set := []string{"advertised.listeners", "broker.id", "listeners", "log.dirs", "node.id", "process.roles"}
	maybe := []string{"group.initial.rebalance.delay.ms", "listener.security.protocol.map", "num.partitions"} // by who starts a broker for tests
	for _, config := range brokerConfigs() {
		v := raw.ConfigNamed(t, r, config.name)
		switch {
		case slices.Contains(set, config.name):
			require.Equal(t, kmsg.ConfigSourceStaticBrokerConfig, v.Source, config.name)
			require.NotNil(t, v.Value, config.name)
		case config.change == stays && !slices.Contains(maybe, config.name): // nobody can have changed it since
			require.Equal(t, byDefaultSource, v.Source, config.name)
			require.LessOrEqual(t, len(v.ConfigSynonyms), 1, config.name)
		}
	}
}
