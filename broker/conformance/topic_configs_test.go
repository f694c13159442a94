package conformance_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// The ranges of topic configs, and the values that are kept: "" where they are refused.
func TestTopicConfigValues(t *testing.T) {
	c := start(t).Dial(t)
	for _, x := range []struct{ name, value, kept string }{
		{"cleanup.policy", "", ""}, {"cleanup.policy", "delete", "delete"},
		{"compression.gzip.level", "0", ""}, {"compression.gzip.level", "-1", "-1"}, {"compression.gzip.level", "10", ""},
		{"compression.lz4.level", "0", ""}, {"compression.lz4.level", "17", "17"}, {"compression.lz4.level", "18", ""},
		{"compression.type", "brotli", ""}, {"compression.type", "none", ""}, {"compression.type", "uncompressed", "uncompressed"},
		{"compression.zstd.level", "-131073", ""}, {"compression.zstd.level", "22", "22"}, {"compression.zstd.level", "23", ""},
		{"delete.retention.ms", "-1", ""}, {"delete.retention.ms", "0", "0"},
		{"file.delete.delay.ms", "-1", ""}, {"flush.messages", "0", ""}, {"flush.ms", "-1", ""}, {"flush.ms", "0", "0"},
		{"follower.replication.throttled.replicas", "x", ""}, {"follower.replication.throttled.replicas", "*", "*"},
		{"index.interval.bytes", "-1", ""}, {"leader.replication.throttled.replicas", "0:1,1:1", "0:1,1:1"},
		{"local.retention.bytes", "-3", ""}, {"local.retention.bytes", "5", "5"}, {"local.retention.ms", "-3", ""}, {"local.retention.ms", "5", "5"},
		{"max.compaction.lag.ms", "0", ""}, {"max.compaction.lag.ms", "1", "1"}, {"max.message.bytes", "-1", ""}, {"max.message.bytes", "0", "0"},
		{"message.timestamp.after.max.ms", "-1", ""}, {"message.timestamp.before.max.ms", "-1", ""}, {"message.timestamp.type", "createtime", ""},
		{"message.timestamp.type", "LogAppendTime", "LogAppendTime"}, {"min.cleanable.dirty.ratio", "1.1", ""}, {"min.cleanable.dirty.ratio", "0.01", "0.01"},
		{"min.compaction.lag.ms", "-1", ""}, {"min.insync.replicas", "0", ""}, {"preallocate", "TRUE", "true"}, {"preallocate", "yes", ""},
		{"remote.log.copy.disable", "true", "true"}, {"remote.storage.enable", "true", ""}, {"remote.storage.enable", "false", "false"},
		{"retention.bytes", "9223372036854775808", ""}, {"retention.ms", " 5 ", "5"}, {"retention.ms", "-2", ""}, {"retention.ms", "-1", "-1"},
		{"segment.bytes", "10", ""}, {"segment.bytes", "1048576", "1048576"}, {"segment.index.bytes", "3", ""}, {"segment.jitter.ms", "-1", ""}, {"segment.ms", "0", ""},
		{"unclean.leader.election.enable", "true", "true"},
		{"message.format.version", "3.0", ""}, {"message.downconversion.enable", "true", ""}, // gone in 4.0
	} {
		name := raw.TopicName(t)
		a := raw.CreateTopics(c, 7, true, raw.NewTopic(name, 1, 1, x.name, x.value))[name]
		if x.kept == "" && !(x.name == "cleanup.policy" && x.value == "") {
			require.Equal(t, int16(40), a.ErrorCode, "%s=%s", x.name, x.value)
			continue
		}
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		for _, cfg := range a.Configs {
			if cfg.Name == x.name {
				require.True(t, strings.EqualFold(x.kept, strings.TrimSpace(*cfg.Value)), "%s=%q", x.name, *cfg.Value) // Kafka tells it as it came
				require.Equal(t, int8(dynamicTopic), cfg.Source)
			}
		}
	}
	name := raw.TopicName(t)
	a := raw.CreateTopics(c, 7, true, raw.NewTopic(name, 1, 1, "min.compaction.lag.ms", "10", "max.compaction.lag.ms", "5"))[name]
	raw.RequireCode(t, 40, a.ErrorCode, a.ErrorMessage)
}
