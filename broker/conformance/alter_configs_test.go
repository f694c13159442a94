package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func replaceConfigs(c *raw.Conn, version int16, validateOnly bool, kind kmsg.ConfigResourceType, name string, configs ...kmsg.AlterConfigsRequestResourceConfig) kmsg.AlterConfigsResponseResource {
	c.T.Helper()
	req := &kmsg.AlterConfigsRequest{Version: version, ValidateOnly: validateOnly, Resources: []kmsg.AlterConfigsRequestResource{
		{ResourceType: kind, ResourceName: name, Configs: configs}}}
	resp := raw.Do[*kmsg.AlterConfigsResponse](c, req)
	require.Len(c.T, resp.Resources, 1)
	require.Equal(c.T, name, resp.Resources[0].ResourceName)
	return resp.Resources[0]
}

func value(name, value string) kmsg.AlterConfigsRequestResourceConfig {
	return kmsg.AlterConfigsRequestResourceConfig{Name: name, Value: &value}
}

// What is not in the request is not set any more.
func TestAlterConfigsReplaces(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(0); version <= 2; version++ {
		tp := raw.CreateTopic(c, 1, "retention.ms", "777", "segment.ms", "5000")
		a := replaceConfigs(c, version, true, ofTopic, tp.Name, value("retention.bytes", "7"))
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		a = replaceConfigs(c, version, false, ofTopic, tp.Name, value("segment.ms", "6000"), value("retention.bytes", "8"))
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		eventuallyConfig(c, ofTopic, tp.Name, "segment.ms", "6000", dynamicTopic)
		eventuallyConfig(c, ofTopic, tp.Name, "retention.bytes", "8", dynamicTopic)
		eventuallyConfig(c, ofTopic, tp.Name, "retention.ms", "604800000", byDefaultSource)
		a = replaceConfigs(c, version, false, ofTopic, tp.Name)
		raw.RequireCode(t, 0, a.ErrorCode, a.ErrorMessage)
		eventuallyConfig(c, ofTopic, tp.Name, "segment.ms", "604800000", byDefaultSource)
	}
}

func TestAlterConfigsRefusals(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "retention.ms", "777")
	for name, test := range map[string]struct {
		kind    kmsg.ConfigResourceType
		name    string
		configs []kmsg.AlterConfigsRequestResourceConfig
		code    int16
	}{
		"null":         {ofTopic, tp.Name, []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms"}}, 42},
		"twice":        {ofTopic, tp.Name, []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1"), value("retention.ms", "2")}, 42},
		"unknown":      {ofTopic, tp.Name, []kmsg.AlterConfigsRequestResourceConfig{value("no.such", "1")}, 40},
		"no number":    {ofTopic, tp.Name, []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "x")}, 40},
		"no topic":     {ofTopic, raw.TopicName(t), []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1")}, 3},
		"read-only":    {ofBroker, "1", []kmsg.AlterConfigsRequestResourceConfig{value("broker.id", "1")}, 42},
		"logger":       {ofLogger, "1", []kmsg.AlterConfigsRequestResourceConfig{value("root", "INFO")}, 42},
		"unknown type": {99, "1", []kmsg.AlterConfigsRequestResourceConfig{value("retention.ms", "1")}, 42},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.In(t)
			for _, validateOnly := range []bool{true, false} {
				a := replaceConfigs(c, 2, validateOnly, test.kind, test.name, test.configs...)
				raw.RequireCode(t, test.code, a.ErrorCode, a.ErrorMessage)
			}
		})
	}
	eventuallyConfig(c, ofTopic, tp.Name, "retention.ms", "777", dynamicTopic)
}
