package raw

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs returns the configs of a resource with synonyms and documentation: all of them, or only some.
func DescribeConfigs(c *Conn, version int16, kind kmsg.ConfigResourceType, name string, only ...string) kmsg.DescribeConfigsResponseResource {
	c.T.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Version, req.IncludeSynonyms, req.IncludeDocumentation = version, true, true
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: name, ConfigNames: only}}
	resp := Do[*kmsg.DescribeConfigsResponse](c, req)
	require.Len(c.T, resp.Resources, 1)
	return resp.Resources[0]
}

// ConfigNamed picks one out of them.
func ConfigNamed(t testing.TB, r kmsg.DescribeConfigsResponseResource, name string) kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	for _, c := range r.Configs {
		if c.Name == name {
			return c
		}
	}
	require.Fail(t, "no config "+name)
	return kmsg.DescribeConfigsResponseResourceConfig{}
}
