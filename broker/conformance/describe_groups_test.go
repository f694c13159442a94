package conformance_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestDescribeGroups(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	m := b.Member(t, raw.TopicName(t), "i").Stable()
	for v := int16(0); v <= 6; v++ {
		g := raw.DescribeGroup(c, v, m.Group, true)
		want := kmsg.DescribeGroupsResponseGroup{Group: m.Group, State: "Stable", ProtocolType: "consumer", Protocol: "range",
			AuthorizedOperations: math.MinInt32,
			Members: []kmsg.DescribeGroupsResponseGroupMember{{MemberID: m.ID, ClientID: "test", ClientHost: "/127.0.0.1",
				ProtocolMetadata: m.Protocols[0].Metadata, MemberAssignment: []byte("all")}}}
		if v >= 3 {
			want.AuthorizedOperations = 1<<3 | 1<<6 | 1<<8 | 1<<10 | 1<<11
			require.EqualValues(t, math.MinInt32, raw.DescribeGroup(c, v, m.Group, false).AuthorizedOperations)
		}
		if v >= 4 {
			want.Members[0].InstanceID = &m.Instance
		}
		require.Equal(t, want, g, "v%d", v)

		none := raw.DescribeGroup(c, v, raw.TopicName(t), false)
		require.Equal(t, "Dead", none.State)
		if v >= 6 {
			require.EqualValues(t, 69, none.ErrorCode)
			require.Equal(t, fmt.Sprintf("Group %s not found.", none.Group), str(none.ErrorMessage))
		} else {
			require.Zero(t, none.ErrorCode, "v%d", v)
		}
	}
	require.Zero(t, raw.DescribeGroup(c, 5, "", false).ErrorCode, "consumers of the early days commit to the group \"\"")
	require.Contains(t, []int16{0, 69}, raw.DescribeGroup(c, 6, "", false).ErrorCode)

	// Before the assignment there is no protocol, and the members have what they had.
	require.Zero(t, m.Join(9).ErrorCode)
	g := raw.DescribeGroup(c, 5, m.Group, false)
	require.Equal(t, "CompletingRebalance", g.State)
	require.Equal(t, "consumer", g.ProtocolType)
	require.Empty(t, g.Protocol)
	require.Len(t, g.Members, 1)
	require.Empty(t, g.Members[0].ProtocolMetadata)
	require.Equal(t, "all", string(g.Members[0].MemberAssignment))
	require.Zero(t, m.Leave(5).ErrorCode)
	g = raw.DescribeGroup(c, 5, m.Group, false)
	require.Equal(t, "Empty", g.State)
	require.Equal(t, "consumer", g.ProtocolType)
	require.Empty(t, g.Members)
}
