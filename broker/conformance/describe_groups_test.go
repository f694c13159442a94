package conformance_test

import (
	"fmt"
	"math"
	"testing"

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

func TestDescribeGroups(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	m := b.member(t, topicName(t), "i").stable()
	for v := int16(0); v <= 6; v++ {
		g := describeOne(c, v, m.group, true)
		want := kmsg.DescribeGroupsResponseGroup{Group: m.group, State: "Stable", ProtocolType: "consumer", Protocol: "range",
			AuthorizedOperations: math.MinInt32,
			Members: []kmsg.DescribeGroupsResponseGroupMember{{MemberID: m.id, ClientID: "test", ClientHost: "/127.0.0.1",
				ProtocolMetadata: m.protocols[0].Metadata, MemberAssignment: []byte("all")}}}
		if v >= 3 {
			want.AuthorizedOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
			require.EqualValues(t, math.MinInt32, describeOne(c, v, m.group, false).AuthorizedOperations)
		}
		if v >= 4 {
			want.Members[0].InstanceID = &m.instance
		}
		require.Equal(t, want, g, "v%d", v)

		none := describeOne(c, v, topicName(t), false)
		require.Equal(t, "Dead", none.State)
		if v >= 6 {
			require.EqualValues(t, 69, none.ErrorCode)
			require.Equal(t, fmt.Sprintf("Group %s not found.", none.Group), str(none.ErrorMessage))
		} else {
			require.Zero(t, none.ErrorCode, "v%d", v)
		}
	}
	require.Zero(t, describeOne(c, 5, "", false).ErrorCode, "consumers of the early days commit to the group \"\"")
	require.Contains(t, []int16{0, 69}, describeOne(c, 6, "", false).ErrorCode)

	// Before the assignment there is no protocol, and the members have what they had.
	require.Zero(t, m.join(9).ErrorCode)
	g := describeOne(c, 5, m.group, false)
	require.Equal(t, "CompletingRebalance", g.State)
	require.Equal(t, "consumer", g.ProtocolType)
	require.Empty(t, g.Protocol)
	require.Len(t, g.Members, 1)
	require.Empty(t, g.Members[0].ProtocolMetadata)
	require.Equal(t, "all", string(g.Members[0].MemberAssignment))
	require.Zero(t, m.leave(5).ErrorCode)
	g = describeOne(c, 5, m.group, false)
	require.Equal(t, "Empty", g.State)
	require.Equal(t, "consumer", g.ProtocolType)
	require.Empty(t, g.Members)
}
