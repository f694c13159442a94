package kafka_test

import (
	"fmt"
	"math"
	"slices"
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
	require.Zero(t, describeOne(c, 5, "", false).ErrorCode)
	require.EqualValues(t, 69, describeOne(c, 6, "", false).ErrorCode)

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

func TestListGroups(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	stable := b.member(t, topicName(t), "").stable()
	simple := b.simple(t, topicName(t))
	simple.commit(8, tp, offset{0, 1, -1, ""})
	list := func(version int16, states, types []string) map[string]kmsg.ListGroupsResponseGroup {
		r := do[*kmsg.ListGroupsResponse](c, &kmsg.ListGroupsRequest{Version: version, StatesFilter: states, TypesFilter: types})
		require.Zero(t, r.ErrorCode)
		all := map[string]kmsg.ListGroupsResponseGroup{}
		for _, g := range r.Groups {
			if g.Group == stable.group || g.Group == simple.group {
				all[g.Group] = g
			}
		}
		return all
	}
	for v := int16(0); v <= 5; v++ {
		all := list(v, nil, nil)
		require.Len(t, all, 2)
		require.Equal(t, "consumer", all[stable.group].ProtocolType)
		require.Equal(t, "", all[simple.group].ProtocolType)
		if v >= 4 {
			require.Equal(t, "Stable", all[stable.group].GroupState)
			require.Equal(t, "Empty", all[simple.group].GroupState)
			for _, filter := range []string{"Stable", "stable", "STABLE"} {
				require.Contains(t, list(v, []string{filter, "Dead"}, nil), stable.group)
				require.NotContains(t, list(v, []string{filter}, nil), simple.group)
			}
			require.Empty(t, list(v, []string{"nothing"}, nil))
		}
	}
	require.Equal(t, "classic", list(5, nil, nil)[stable.group].GroupType)
	for _, filter := range []string{"classic", "Classic", "CLASSIC"} {
		require.Len(t, list(5, nil, []string{filter}), 2)
	}
	require.Empty(t, list(5, nil, []string{"consumer"}))
	require.Len(t, list(5, []string{"empty"}, []string{"consumer", "classic"}), 1)
}

func TestDeleteGroups(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	for v := int16(0); v <= 2; v++ {
		stable := b.member(t, topicName(t), "").stable()
		simple := b.simple(t, topicName(t))
		simple.commit(8, tp, offset{0, 1, -1, ""})
		none := topicName(t)
		r := do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: v, Groups: []string{stable.group, simple.group, none, none}})
		got := map[string]int16{}
		for _, g := range r.Groups {
			got[g.Group] = g.ErrorCode
		}
		require.Len(t, r.Groups, 3)
		require.Equal(t, map[string]int16{stable.group: 68, simple.group: 0, none: 69}, got)
		require.EqualValues(t, -1, simple.fetch(8, tp, 0)[0].Offset)
		require.Equal(t, "Dead", describeOne(c, 5, simple.group, false).State)
		// It may be used again.
		require.Equal(t, []int16{0}, simple.commit(8, tp, offset{0, 2, -1, ""}))
		require.EqualValues(t, 2, simple.fetch(8, tp, 0)[0].Offset)
	}
}

func TestFindCoordinator(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	meta := do[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{}})
	node := meta.Brokers[0]
	for v := int16(0); v <= 6; v++ {
		for _, kind := range []int8{0, 1} {
			if v == 0 && kind == 1 {
				continue
			}
			keys := []string{topicName(t), topicName(t)}
			req := &kmsg.FindCoordinatorRequest{Version: v, CoordinatorKey: keys[0], CoordinatorType: kind, CoordinatorKeys: keys}
			var r *kmsg.FindCoordinatorResponse
			eventually(t, func() bool { // Kafka creates its topic of transactions when it is first asked
				r = do[*kmsg.FindCoordinatorResponse](c, req)
				return r.ErrorCode != 15 && !slices.ContainsFunc(r.Coordinators, func(c kmsg.FindCoordinatorResponseCoordinator) bool { return c.ErrorCode == 15 })
			})
			if v < 4 {
				require.Zero(t, r.ErrorCode)
				require.Equal(t, node.NodeID, r.NodeID)
				require.Equal(t, node.Host, r.Host)
				require.Equal(t, node.Port, r.Port)
				continue
			}
			require.Len(t, r.Coordinators, 2)
			for i, got := range r.Coordinators {
				require.Zero(t, got.ErrorCode)
				require.Equal(t, keys[i], got.Key)
				require.Equal(t, node.NodeID, got.NodeID)
				require.Equal(t, node.Host, got.Host)
				require.Equal(t, node.Port, got.Port)
			}
		}
	}
	for v := int16(1); v <= 6; v++ {
		r := do[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: v, CoordinatorKey: "x", CoordinatorType: 9, CoordinatorKeys: []string{"x"}})
		if v < 4 {
			require.EqualValues(t, 42, r.ErrorCode, "v%d", v)
			require.EqualValues(t, -1, r.NodeID)
		} else {
			require.Len(t, r.Coordinators, 1, "v%d", v)
			require.EqualValues(t, 42, r.Coordinators[0].ErrorCode, "v%d", v)
		}
	}
}
