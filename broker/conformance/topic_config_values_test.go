package conformance_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// requireValue sets a config in each of the three ways that there are, without making it so. nil is null.
func requireValue(c *raw.Conn, tp raw.Topic, name string, value *string, code int16) {
	c.T.Helper()
	what := name + "=null"
	if value != nil {
		what = fmt.Sprintf("%s=%q", name, *value)
	}
	rt := raw.NewTopic("config-values", 1, 1)
	rt.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: name, Value: value}}
	require.Equal(c.T, code, raw.CreateTopics(c, 7, true, rt)["config-values"].ErrorCode, "create with %s", what)
	if value == nil {
		code = 42 // INVALID_REQUEST here, INVALID_CONFIG there
	}
	altered := alterAll(c, 1, true, alterResource(ofTopic, tp.Name, change{Name: name, Value: value}))
	require.Equal(c.T, code, altered[0].ErrorCode, "set %s", what)
	replaced := replaceConfigs(c, 2, true, ofTopic, tp.Name, kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: value})
	require.Equal(c.T, code, replaced.ErrorCode, "replace by %s", what)
}

// How numbers are written, and the least and the most that each config takes.
func TestTopicConfigNumbers(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	const short, long = 1<<31 - 1, 1<<63 - 1
	for name, bounds := range map[string][2]int64{
		"compression.gzip.level": {1, 9}, "compression.lz4.level": {1, 17}, "compression.zstd.level": {-131072, 22},
		"index.interval.bytes": {0, short}, "max.message.bytes": {0, short}, "min.insync.replicas": {1, short},
		"segment.bytes": {1 << 20, short}, "segment.index.bytes": {4, short},
		"delete.retention.ms": {0, long}, "file.delete.delay.ms": {0, long}, "flush.messages": {1, long}, "flush.ms": {0, long},
		"local.retention.bytes": {-2, long}, "local.retention.ms": {-2, long}, "max.compaction.lag.ms": {1, long},
		"message.timestamp.after.max.ms": {0, long}, "message.timestamp.before.max.ms": {0, long}, "min.compaction.lag.ms": {0, long},
		"retention.bytes": {-1 << 63, long}, "retention.ms": {-1, long}, "segment.jitter.ms": {0, long}, "segment.ms": {1, long},
	} {
		least, most := strconv.FormatInt(bounds[0], 10), strconv.FormatInt(bounds[1], 10)
		for _, value := range []string{least, most, " " + most + " ", "\t" + most + "\n", "\x1f" + most, "+" + most, "00" + most} {
			requireValue(c, tp, name, &value, 0)
		}
		below, above := strconv.FormatInt(bounds[0]-1, 10), strconv.FormatUint(uint64(bounds[1])+1, 10)
		if bounds[0] == -1<<63 {
			below = "-9223372036854775809"
		}
		for _, value := range []string{below, above, most + "s", most + "k", most + "L", most + ".0", "1e1", "0x10", "1_0", "1,2", "4 4", "--4", "+-4", "", "  ", "null", "true",
			"\u00a0" + most, most + "\u2003", "99999999999999999999999"} {
			requireValue(c, tp, name, &value, 40)
		}
		requireValue(c, tp, name, nil, 40)
	}
}

func TestTopicConfigWords(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	type values = []string
	for name, test := range map[string]struct{ good, bad []string }{
		"cleanup.policy": {values{"compact", "delete", "compact,delete", "compact,compact", "delete,delete,compact", " compact , delete ", "\tcompact\n", "", "  "},
			values{"COMPACT", "Delete", "burn", "compact,burn", "none", "compact,", ",compact", ",", "compact,,delete", "[compact]", "compact;delete", "compact delete", "\u00a0compact"}},
		"compression.type": {values{"gzip", "snappy", "lz4", "zstd", "uncompressed", "producer", " gzip ", "\tgzip\n"},
			values{"GZIP", "Gzip", "Uncompressed", "PRODUCER", "none", "lz5", "gzip,lz4", "", " ", "gzip\u00a0"}},
		"message.timestamp.type": {values{"CreateTime", "LogAppendTime", " LogAppendTime "},
			values{"createtime", "LOGAPPENDTIME", "NoTimestampType", "CreateTime,LogAppendTime", "", "0"}},
		"leader.replication.throttled.replicas": {values{"*", " * ", ",*", "0:1", "0:1,1:1", "0:1,0:1", " 0:1 , 1:1 ", "0:1,", "0:1,,1:1", ",", "", "0:99", "00:1", "99999999999:1"},
			values{"none", "0", "0:1:2", "a:b", "-1:1", "0:-1", "0 : 1", "0:1;1:1", "*:*", "*,0:1", "0:1,*", "**"}},
		"follower.replication.throttled.replicas": {values{"*", "0:1", "0:1,"}, values{"x", "0:1:2", "0 : 1"}},
		"min.cleanable.dirty.ratio": {values{"0", "1", "0.5", "1.0", ".5", "1.", "+0.5", " 0.5 ", "5e-1", "-0", "00.5"},
			values{"1.1", "-0.1", "2", "half", "0,5", "50%", "", " ", "Infinity", "true"}},
		"preallocate":                    {values{"true", "false", "TRUE", "False", " true ", "\ttrue\n"}, values{"yes", "1", "0", "", " ", "on", "truefalse", "true\u00a0", "null"}},
		"remote.log.copy.disable":        {values{"true", "FALSE"}, values{"yes", "1", ""}},
		"remote.log.delete.on.disable":   {values{"true", "FALSE"}, values{"yes", "1", ""}},
		"remote.storage.enable":          {values{"false", "False", " FALSE "}, values{"no", "0", ""}},
		"unclean.leader.election.enable": {values{"true", "FALSE"}, values{"yes", "1", ""}},
		// What is no topic config, or not any more.
		"": {nil, values{"", "1"}}, " retention.ms": {nil, values{"5"}}, "RETENTION.MS": {nil, values{"5"}}, "retention.minutes": {nil, values{"5"}},
		"log.retention.ms": {nil, values{"5"}}, "message.timestamp.difference.max.ms": {nil, values{"5", "9223372036854775807"}},
		"message.format.version": {nil, values{"3.0-IV1"}}, "message.downconversion.enable": {nil, values{"true"}},
	} {
		for _, value := range test.good {
			requireValue(c, tp, name, &value, 0)
		}
		for _, value := range test.bad {
			requireValue(c, tp, name, &value, 40)
		}
		requireValue(c, tp, name, nil, 40)
	}
}

// Several configs of one topic.
func TestTopicConfigsTogether(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for _, test := range []struct {
		code    int16
		configs []string
	}{
		{0, []string{"retention.ms", "5", "local.retention.ms", "6"}}, {0, []string{"retention.bytes", "5", "local.retention.bytes", "6"}},
		{0, []string{"segment.ms", "5", "segment.jitter.ms", "6"}}, {0, []string{"min.compaction.lag.ms", "5", "max.compaction.lag.ms", "5"}},
		{40, []string{"min.compaction.lag.ms", "6", "max.compaction.lag.ms", "5"}}, {0, []string{"remote.log.copy.disable", "true", "retention.ms", "5"}},
		{0, []string{"remote.log.delete.on.disable", "true", "remote.storage.enable", "false"}}, {40, []string{"retention.ms", "1", "no.such", "2"}},
		{40, []string{"retention.ms", "x", "segment.ms", "1"}}, {40, []string{"cleanup.policy", "", "remote.storage.enable", "true"}},
	} {
		rt := raw.NewTopic("config-values", 1, 1, test.configs...)
		require.Equal(t, test.code, raw.CreateTopics(c, 7, true, rt)["config-values"].ErrorCode, test.configs)
		var changes []change
		var all []kmsg.AlterConfigsRequestResourceConfig
		for i := 0; i < len(test.configs); i += 2 {
			changes = append(changes, set(test.configs[i], test.configs[i+1]))
			all = append(all, value(test.configs[i], test.configs[i+1]))
		}
		require.Equal(t, test.code, alterAll(c, 1, true, alterResource(ofTopic, tp.Name, changes...))[0].ErrorCode, test.configs)
		require.Equal(t, test.code, replaceConfigs(c, 2, true, ofTopic, tp.Name, all...).ErrorCode, test.configs)
	}
}

// Odd elements that are added to lists, or taken away.
func TestTopicConfigListsOddly(t *testing.T) {
	c := start(t).Dial(t)
	const policy, list = "cleanup.policy", "leader.replication.throttled.replicas"
	tp := raw.CreateTopic(c, 1, list, "0:1")
	for _, test := range []struct {
		change change
		code   int16
	}{
		{add(policy, "compact,compact"), 0}, {add(policy, "delete,compact"), 0}, {add(policy, " compact "), 0}, {add(policy, "COMPACT"), 40}, {add(policy, "burn"), 40},
		{add(policy, ""), 40}, {add(policy, " "), 40}, {add(policy, "compact,"), 0}, {add(policy, "compact,,"), 0}, {add(policy, ",compact"), 40}, {add(policy, ","), 0},
		{subtract(policy, ",delete"), 0}, {subtract(policy, ""), 0}, {subtract(policy, "burn"), 0}, {subtract(policy, "DELETE"), 0}, {subtract(policy, "delete,delete"), 0},
		{add(list, "1:1,1:1"), 0}, {add(list, "1 : 1"), 40}, {add(list, "*"), 40}, {add(list, ""), 0}, {subtract(list, "*"), 0}, {subtract(list, "0:1,0:1"), 0},
		{add("compression.type", "gzip"), 40}, {subtract("retention.ms", ""), 40}, {add("no.such.list", "1"), 40}, {subtract("no.such.list", "1"), 40},
	} {
		require.Equal(t, test.code, alterAll(c, 1, true, alterResource(ofTopic, tp.Name, test.change))[0].ErrorCode, "%d %s %q", test.change.Op, test.change.Name, *test.change.Value)
	}
}
