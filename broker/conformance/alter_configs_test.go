package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func replaceConfigs(c *conn, version int16, validateOnly bool, kind kmsg.ConfigResourceType, name string, configs ...kmsg.AlterConfigsRequestResourceConfig) kmsg.AlterConfigsResponseResource {
	c.t.Helper()
	req := &kmsg.AlterConfigsRequest{Version: version, ValidateOnly: validateOnly, Resources: []kmsg.AlterConfigsRequestResource{
		{ResourceType: kind, ResourceName: name, Configs: configs}}}
	resp := do[*kmsg.AlterConfigsResponse](c, req)
	require.Len(c.t, resp.Resources, 1)
	require.Equal(c.t, name, resp.Resources[0].ResourceName)
	return resp.Resources[0]
}

func value(name, value string) kmsg.AlterConfigsRequestResourceConfig {
	return kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: &value}
}

// What is not in the request is not set any more.
func TestAlterConfigsReplaces(t *testing.T) {
	c := start(t).dial(t)
	for version := int16(0); version <= 2; version++ {
		tp := createTopic(c, 1, "retention.ms", "777", "segment.ms", "5000")
		a := replaceConfigs(c, version, true, ofTopic, tp.name, value("retention.bytes", "7"))
		requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		a = replaceConfigs(c, version, false, ofTopic, tp.name, value("segment.ms", "6000"), value("retention.bytes", "8"))
		requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		eventuallyConfig(c, ofTopic, tp.name, "segment.ms", "6000", dynamicTopic)
		eventuallyConfig(c, ofTopic, tp.name, "retention.bytes", "8", dynamicTopic)
		eventuallyConfig(c, ofTopic, tp.name, "retention.ms", "604800000", byDefaultSource)
		a = replaceConfigs(c, version, false, ofTopic, tp.name)
		requireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		eventuallyConfig(c, ofTopic, tp.name, "segment.ms", "604800000", byDefaultSource)
	}
}

func TestAlterConfigsRefusals(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "retention.ms", "777")
	for name, test := range map[string]struct {
		kind    kmsg.ConfigResourceType
		name    string
		configs []kmsg.AlterConfigsRequestResourceConfig
		code    int16
	}{
		"null":         {ofTopic, tp.name, []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms"}}, 42},
		"twice":        {ofTopic, tp.name, []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1"), value("retention.ms", "2")}, 42},
		"unknown":      {ofTopic, tp.name, []kmsg.AlterConfigsRequestResourceConfig{value("no.such", "1")}, 40},
		"no number":    {ofTopic, tp.name, []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "x")}, 40},
		"no topic":     {ofTopic, topicName(t), []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1")}, 3},
		"read-only":    {ofBroker, "1", []kmsg.AlterConfigsRequestResourceConfig{value("broker.id", "1")}, 42},
		"logger":       {ofLogger, "1", []kmsg.AlterConfigsRequestResourceConfig{value("root", "INFO")}, 42},
		"unknown type": {99, "1", []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1")}, 42},
	} {
		t.Run(name, func(t *testing.T) {
			c := &conn{t: t, Conn: c.Conn, correlation: c.correlation + 1000}
			for _, validateOnly := range []bool{true, false} {
				a := replaceConfigs(c, 2, validateOnly, test.kind, test.name, test.configs...)
				requireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
			}
		})
	}
	eventuallyConfig(c, ofTopic, tp.name, "retention.ms", "777", dynamicTopic)
}
