package kafka_test

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func describeOne(c *conn, version int16, name string, operations bool) kmsg.DescribeGroupsResponseGroup {
	c.t.Helper()
	r := do[*kmsg.DescribeGroupsResponse](c, &kmsg.DescribeGroupsRequest{Version: version, Groups: []string{name}, IncludeAuthorizedOperations: operations})
	require.Len(c.t, r.Groups, 1)
	require.Equal(c.t, name, r.Groups[0].Group)
	return r.Groups[0]
}
