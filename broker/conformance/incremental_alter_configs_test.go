package conformance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// change is one change of a config: name, operation, value.
type change = kmsg.IncrementalAlterConfigsRequestResourceConfig

func set(name, value string) change      { return change{Name: name, Op: 0, Value: &value} }
func unset(name string) change           { return change{Name: name, Op: 1} }
func add(name, value string) change      { return change{Name: name, Op: 2, Value: &value} }
func subtract(name, value string) change { return change{Name: name, Op: 3, Value: &value} }

func alterResource(kind kmsg.ConfigResourceType, name string, changes ...change) kmsg.IncrementalAlterConfigsRequestResource {
	return kmsg.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name, Configs: changes}
}

func alterAll(c *raw.Conn, version int16, validateOnly bool, list ...kmsg.IncrementalAlterConfigsRequestResource) []kmsg.IncrementalAlterConfigsResponseResource {
	c.T.Helper()
	req := &kmsg.IncrementalAlterConfigsRequest{Version: version, ValidateOnly: validateOnly, Resources: list}
	return raw.Do[*kmsg.IncrementalAlterConfigsResponse](c, req).Resources
}

// alter makes the changes of one resource and returns the code.
func alter(c *raw.Conn, kind kmsg.ConfigResourceType, name string, changes ...change) int16 {
	c.T.Helper()
	answers := alterAll(c, 1, false, alterResource(kind, name, changes...))
	require.Len(c.T, answers, 1)
	require.Equal(c.T, kind, answers[0].ResourceType)
	require.Equal(c.T, name, answers[0].ResourceName)
	return answers[0].ErrorCode
}

// eventuallyConfig waits until a config has a value from a source: Kafka shows it a little later.
func eventuallyConfig(c *raw.Conn, kind kmsg.ConfigResourceType, name, config, value string, source kmsg.ConfigSource) {
	c.T.Helper()
	got := "not there"
	require.Eventually(c.T, func() bool {
		r := raw.DescribeConfigs(c, 4, kind, name, config)
		require.Zero(c.T, r.ErrorCode)
		if len(r.Configs) == 0 || r.Configs[0].Value == nil {
			return false
		}
		got = fmt.Sprintf("%q from %s", *r.Configs[0].Value, r.Configs[0].Source)
		return *r.Configs[0].Value == value && r.Configs[0].Source == source
	}, time.Minute, 5*time.Millisecond, "%s of %s should be %q, is %s", config, name, value, (*lazy)(&got))
}

// lazy is printed as it is in the end.
type lazy string

func (l *lazy) String() string { return string(*l) }

const (
	ofTopic   = kmsg.ConfigResourceTypeTopic
	ofBroker  = kmsg.ConfigResourceTypeBroker
	ofLogger  = kmsg.ConfigResourceTypeBrokerLogger
	ofMetrics = kmsg.ConfigResourceTypeClientMetrics
	ofGroup   = kmsg.ConfigResourceTypeGroupConfig

	dynamicTopic    = kmsg.ConfigSourceDynamicTopicConfig
	byDefaultSource = kmsg.ConfigSourceDefaultConfig
)

func TestIncrementalAlterConfigsSetAndDelete(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(0); version <= 1; version++ {
		tp := raw.CreateTopic(c, 1, "retention.ms", "777")
		answers := alterAll(c, version, false, alterResource(ofTopic, tp.Name, set("segment.ms", " 5000 "), unset("retention.ms")))
		raw.RequireCode(t, 0, answers[0].ErrorCode, answers[0].ErrorMessage)
		eventuallyConfig(c, ofTopic, tp.Name, "segment.ms", "5000", dynamicTopic)
		eventuallyConfig(c, ofTopic, tp.Name, "retention.ms", "604800000", byDefaultSource)
		require.Zero(t, alter(c, ofTopic, tp.Name, unset("retention.ms"), unset("never.heard.of.it")), "nothing is there to delete")
		require.Zero(t, alter(c, ofTopic, tp.Name))
	}
}

func TestIncrementalAlterConfigsOfAList(t *testing.T) {
	c := start(t).Dial(t)
	const list = "leader.replication.throttled.replicas"
	tp := raw.CreateTopic(c, 1)
	for _, step := range []struct {
		change change
		want   string
	}{
		{add(list, "0:1"), "0:1"}, {add(list, "0:1,1:1"), "0:1,1:1"}, {add(list, "1:1"), "0:1,1:1"}, {subtract(list, "0:1"), "1:1"},
		{subtract(list, "7:1"), "1:1"}, {add(list, "2:1,3:1"), "1:1,2:1,3:1"}, {subtract(list, "3:1,1:1"), "2:1"}, {set(list, " 4:1 ,5:1"), "4:1,5:1"}, {set(list, ""), ""},
	} {
		require.Zero(t, alter(c, ofTopic, tp.Name, step.change))
		eventuallyConfig(c, ofTopic, tp.Name, list, step.want, dynamicTopic)
	}
}

// A list that is not set is changed from its default.
func TestIncrementalAlterConfigsOfAListThatIsNotSet(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.Zero(t, alter(c, ofTopic, tp.Name, add("cleanup.policy", "delete"), set("segment.ms", "5000")))
	eventuallyConfig(c, ofTopic, tp.Name, "segment.ms", "5000", dynamicTopic)
	eventuallyConfig(c, ofTopic, tp.Name, "cleanup.policy", "delete", dynamicTopic)
	require.Zero(t, alter(c, ofTopic, tp.Name, subtract("cleanup.policy", "delete")))
	eventuallyConfig(c, ofTopic, tp.Name, "cleanup.policy", "", dynamicTopic)
}

// delete to compact and back, one policy at a time, with records in the topic.
func TestIncrementalAlterConfigsOfCleanupPolicy(t *testing.T) {
	c := start(t).Dial(t)
	const policy = "cleanup.policy"
	tp := raw.CreateTopic(c, 1)
	for i, step := range []struct {
		change change
		want   string
	}{
		{add(policy, "compact"), "delete,compact"}, {add(policy, "compact"), "delete,compact"}, {subtract(policy, "delete"), "compact"},
		{set(policy, "delete,compact"), "delete,compact"}, {subtract(policy, "compact"), "delete"}, {set(policy, "compact"), "compact"},
		{set(policy, "delete"), "delete"},
	} {
		require.Equal(t, int64(i), raw.MustProduce(c, tp, raw.KV("k", "v")))
		require.Zero(t, alter(c, ofTopic, tp.Name, step.change))
		eventuallyConfig(c, ofTopic, tp.Name, policy, step.want, dynamicTopic)
	}
	require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 6).RecordBatches), 1)
}

func TestIncrementalAlterConfigsRefusals(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "retention.ms", "777")
	for name, test := range map[string]struct {
		kind    kmsg.ConfigResourceType
		name    string
		changes []change
		code    int16
	}{
		"set null":              {ofTopic, tp.Name, []change{{Name: "retention.ms", Op: 0}}, 42},
		"append null":           {ofTopic, tp.Name, []change{{Name: "cleanup.policy", Op: 2}}, 42},
		"append to no list":     {ofTopic, tp.Name, []change{add("retention.ms", "1")}, 40},
		"subtract from no list": {ofTopic, tp.Name, []change{subtract("retention.ms", "1")}, 40},
		"append to unknown":     {ofTopic, tp.Name, []change{add("no.such", "1")}, 40},
		"append a bad element":  {ofTopic, tp.Name, []change{add("cleanup.policy", "burn")}, 40},
		"empty element":         {ofTopic, tp.Name, []change{set("cleanup.policy", "delete,,delete")}, 40},
		"unknown":               {ofTopic, tp.Name, []change{set("no.such", "1")}, 40},
		"no number":             {ofTopic, tp.Name, []change{set("retention.ms", "soon")}, 40},
		"out of range":          {ofTopic, tp.Name, []change{set("retention.ms", "-2")}, 40},
		"one of two":            {ofTopic, tp.Name, []change{set("retention.ms", "5"), set("segment.ms", "x")}, 40},
		"unknown operation":     {ofTopic, tp.Name, []change{{Name: "retention.ms", Op: 9, Value: new(string)}}, -1},
		"twice":                 {ofTopic, tp.Name, []change{set("retention.ms", "5"), set("retention.ms", "6")}, 42},
		"set and deleted":       {ofTopic, tp.Name, []change{set("retention.ms", "5"), unset("retention.ms")}, 42},
		"no such topic":         {ofTopic, raw.TopicName(t), []change{set("retention.ms", "5")}, 3},
		"no topic":              {ofTopic, "", []change{set("retention.ms", "5")}, 42},
		"no topic's name":       {ofTopic, "a/b", []change{set("retention.ms", "5")}, 17},
		"unknown type":          {99, "x", []change{set("retention.ms", "5")}, 42},
		"type 0":                {0, "x", []change{set("retention.ms", "5")}, 42},
		"no broker":             {ofBroker, "abc", []change{set("log.retention.ms", "5")}, 42},
		"another broker":        {ofBroker, "7", []change{set("log.retention.ms", "5")}, 42},
		"read-only":             {ofBroker, "1", []change{set("broker.id", "1")}, 42},
		"read-only everywhere":  {ofBroker, "", []change{set("num.partitions", "3")}, 42},
		"broker, no number":     {ofBroker, "", []change{set("log.retention.ms", "soon")}, 42},
		"no such logger":        {ofLogger, "1", []change{set("no.such.logger", "INFO")}, 40},
		"no such level":         {ofLogger, "1", []change{set("root", "LOUD")}, 40},
		"append to a logger":    {ofLogger, "1", []change{add("root", "INFO")}, 42},
		"no root logger":        {ofLogger, "1", []change{unset("root")}, 42},
		"logger of all":         {ofLogger, "", []change{set("root", "INFO")}, 42},
		"logger of another":     {ofLogger, "9", []change{set("root", "INFO")}, 42},
		"group's name":          {ofGroup, "", []change{set("consumer.session.timeout.ms", "46000")}, 42},
		"group, too low":        {ofGroup, "g", []change{set("consumer.session.timeout.ms", "5")}, 40},
		"group, too high":       {ofGroup, "g", []change{set("consumer.session.timeout.ms", "600000000")}, 40},
		"group, unknown":        {ofGroup, "g", []change{set("no.such", "5")}, 40},
		"metrics, interval":     {ofMetrics, "m", []change{set("interval.ms", "1")}, 42},
		"metrics, match":        {ofMetrics, "m", []change{set("match", "foo=(")}, 40},
		"metrics, unknown":      {ofMetrics, "m", []change{set("no.such", "5")}, 42},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.In(t)
			for _, validateOnly := range []bool{true, false} {
				answers := alterAll(c, 1, validateOnly, alterResource(test.kind, test.name, test.changes...))
				require.Len(t, answers, 1)
				raw.RequireCode(t, test.code, answers[0].ErrorCode, answers[0].ErrorMessage)
			}
		})
	}
	eventuallyConfig(c, ofTopic, tp.Name, "retention.ms", "777", dynamicTopic)
}

func TestIncrementalAlterConfigsResourceTwice(t *testing.T) {
	c := start(t).Dial(t)
	a, b := raw.CreateTopic(c, 1, "retention.ms", "777"), raw.CreateTopic(c, 1)
	answers := alterAll(c, 1, false, alterResource(ofTopic, a.Name, set("retention.ms", "1")), alterResource(ofTopic, b.Name, set("retention.ms", "888")),
		alterResource(ofTopic, a.Name, set("segment.ms", "1")))
	for _, answer := range answers {
		if answer.ResourceName == a.Name {
			raw.RequireCode(t, 42, answer.ErrorCode, answer.ErrorMessage)
		} else {
			raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
		}
	}
	eventuallyConfig(c, ofTopic, b.Name, "retention.ms", "888", dynamicTopic)
	eventuallyConfig(c, ofTopic, a.Name, "retention.ms", "777", dynamicTopic)
}

func TestIncrementalAlterConfigsValidateOnly(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "retention.ms", "777")
	answers := alterAll(c, 1, true, alterResource(ofTopic, tp.Name, set("retention.ms", "5")),
		alterResource(ofBroker, "", set("log.index.interval.bytes", "4097")), alterResource(ofLogger, "1", set("root", "ERROR")))
	require.Len(t, answers, 3)
	for _, a := range answers {
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
	}
	require.Zero(t, alter(c, ofTopic, tp.Name, set("segment.ms", "5000")))
	eventuallyConfig(c, ofTopic, tp.Name, "segment.ms", "5000", dynamicTopic) // what was validated before would be there too
	eventuallyConfig(c, ofTopic, tp.Name, "retention.ms", "777", dynamicTopic)
	eventuallyConfig(c, ofTopic, tp.Name, "index.interval.bytes", "4096", byDefaultSource)
	require.NotEqual(t, "ERROR", *raw.DescribeConfigs(c, 4, ofLogger, "1", "root").Configs[0].Value)
}

// KIP-226: what is set on broker 1 comes before what is set on all brokers, and a topic that sets nothing has it.
func TestDynamicBrokerConfigs(t *testing.T) {
	c := start(t).Dial(t)
	own, inherits := raw.CreateTopic(c, 1, "index.interval.bytes", "4444"), raw.CreateTopic(c, 1)
	const config, synonym = "index.interval.bytes", "log.index.interval.bytes"
	t.Cleanup(func() {
		alter(c, ofBroker, "", unset(synonym))
		alter(c, ofBroker, "1", unset(synonym))
		eventuallyConfig(c, ofTopic, inherits.Name, config, "4096", byDefaultSource)
		eventuallyConfig(c, ofBroker, "1", synonym, "4096", byDefaultSource)
	})
	require.Zero(t, alter(c, ofBroker, "", set(synonym, "5001")))
	eventuallyConfig(c, ofTopic, inherits.Name, config, "5001", kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	eventuallyConfig(c, ofBroker, "1", synonym, "5001", kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	eventuallyConfig(c, ofBroker, "", synonym, "5001", kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	require.Zero(t, alter(c, ofBroker, "1", set(synonym, "5002")))
	eventuallyConfig(c, ofTopic, inherits.Name, config, "5002", kmsg.ConfigSourceDynamicBrokerConfig)
	eventuallyConfig(c, ofTopic, own.Name, config, "4444", dynamicTopic)
	created := raw.TopicName(t)
	answer := raw.CreateTopics(c, 7, true, raw.NewTopic(created, 1, 1))[created]
	for _, cfg := range answer.Configs {
		if cfg.Name == config {
			require.Equal(t, "5002", *cfg.Value)
			require.Equal(t, int8(kmsg.ConfigSourceDynamicBrokerConfig), cfg.Source)
		}
	}
	var chain []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym
	for _, v := range []struct {
		name, value string
		source      kmsg.ConfigSource
	}{{config, "4444", dynamicTopic}, {synonym, "5002", kmsg.ConfigSourceDynamicBrokerConfig},
		{synonym, "5001", kmsg.ConfigSourceDynamicDefaultBrokerConfig}, {synonym, "4096", byDefaultSource}} {
		chain = append(chain, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{Name: v.name, Value: &v.value, Source: v.source})
	}
	got := raw.ConfigNamed(t, raw.DescribeConfigs(c, 4, ofTopic, own.Name), config).ConfigSynonyms
	for i := range got {
		got[i].UnknownTags = kmsg.Tags{}
	}
	require.Equal(t, chain, got)
}

func TestGroupConfigs(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	const config = "consumer.session.timeout.ms"
	eventuallyConfig(c, ofGroup, name, config, "45000", byDefaultSource)
	require.Zero(t, alter(c, ofGroup, name, set(config, "46000")))
	eventuallyConfig(c, ofGroup, name, config, "46000", kmsg.ConfigSourceGroupConfig)
	synonyms := raw.DescribeConfigs(c, 4, ofGroup, name, config).Configs[0].ConfigSynonyms
	require.Equal(t, config, synonyms[0].Name)
	require.Equal(t, "group."+config, synonyms[1].Name)
	require.Zero(t, alter(c, ofGroup, name, unset(config)))
	eventuallyConfig(c, ofGroup, name, config, "45000", byDefaultSource)
}

func TestClientMetricsConfigs(t *testing.T) {
	c := start(t).Dial(t)
	name := raw.TopicName(t)
	require.Zero(t, alter(c, ofMetrics, name, set("interval.ms", "1000"), set("metrics", "org.apache.kafka."), set("match", "client_software_name=apache.*")))
	eventuallyConfig(c, ofMetrics, name, "interval.ms", "1000", kmsg.ConfigSourceClientMetricsConfig)
	eventuallyConfig(c, ofMetrics, name, "match", "client_software_name=apache.*", kmsg.ConfigSourceClientMetricsConfig)
	require.Zero(t, alter(c, ofMetrics, name, unset("interval.ms"), unset("metrics"), unset("match")))
	eventuallyConfig(c, ofMetrics, name, "interval.ms", "300000", byDefaultSource)
}

func TestLoggerLevels(t *testing.T) {
	c := start(t).Dial(t)
	before := *raw.DescribeConfigs(c, 4, ofLogger, "1", "root").Configs[0].Value
	t.Cleanup(func() { alter(c, ofLogger, "1", set("root", before)) })
	require.Zero(t, alter(c, ofLogger, "1", set("root", "ERROR")))
	eventuallyConfig(c, ofLogger, "1", "root", "ERROR", kmsg.ConfigSourceDynamicBrokerLoggerConfig)
}
