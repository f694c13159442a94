package conformance_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestConsumerGroupDescribe(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	name := raw.TopicName(t)
	m := b.consumer(t, owners{}, name, "m", tp.Name)
	m.instance = "i"
	r := m.request(0)
	r.RackID = ptr("rack")
	m.take(m.ask(r))
	until(t, func() bool { return len(m.of(tp)) == 2 }, m)
	classic, unknown := b.Member(t, raw.TopicName(t), "").Stable(), raw.TopicName(t)
	for version := range int16(2) {
		groups := describeConsumers(c, version, name, unknown, classic.Group, "")
		byName := func(name string) kmsg.ConsumerGroupDescribeResponseGroup {
			i := slices.IndexFunc(groups, func(g kmsg.ConsumerGroupDescribeResponseGroup) bool { return g.Group == name })
			require.GreaterOrEqual(t, i, 0)
			return groups[i]
		}
		g := byName(name)
		require.Zero(t, g.ErrorCode)
		require.Equal(t, "Stable", g.State)
		require.Equal(t, m.epoch, g.Epoch)
		require.Equal(t, m.epoch, g.AssignmentEpoch)
		require.Equal(t, "uniform", g.AssignorName)
		require.Len(t, g.Members, 1)
		has := kmsg.Assignment{TopicPartitions: []kmsg.AssignmentTopicPartition{{TopicID: tp.ID, Topic: tp.Name, Partitions: []int32{0, 1}}}}
		memberType := int8(-1)
		if version >= 1 {
			memberType = 1
		}
		got := g.Members[0]
		require.Equal(t, kmsg.ConsumerGroupDescribeResponseGroupMember{MemberID: "m", InstanceID: ptr("i"), RackID: ptr("rack"), MemberEpoch: m.epoch,
			ClientID: "test", ClientHost: "/127.0.0.1", SubscribedTopics: []string{tp.Name}, SubscribedTopicRegex: got.SubscribedTopicRegex,
			Assignment: has, TargetAssignment: has, MemberType: memberType}, got)
		require.Empty(t, str(got.SubscribedTopicRegex))

		g = byName(unknown)
		require.EqualValues(t, 69, g.ErrorCode)
		require.Equal(t, "Group "+unknown+" not found.", str(g.ErrorMessage))
		g = byName(classic.Group)
		require.EqualValues(t, 69, g.ErrorCode)
		require.Equal(t, "Group "+classic.Group+" is not a consumer group.", str(g.ErrorMessage))
		require.EqualValues(t, 24, byName("").ErrorCode)
	}
}

// The APIs of before, asked about a group that the broker balances.
func TestConsumerGroupInClassicAPIs(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	m.join()
	until(t, func() bool { return len(m.owned) == 1 }, m)
	for version := range int16(7) {
		g := raw.DescribeGroup(c, version, m.group, false)
		require.Equal(t, "Dead", g.State)
		require.Empty(t, g.Members)
		if version >= 6 {
			require.EqualValues(t, 69, g.ErrorCode)
			require.Equal(t, "Group "+m.group+" is not a classic group.", str(g.ErrorMessage))
		} else {
			require.Zero(t, g.ErrorCode)
		}
	}
	listed := func(states, types []string) (found []kmsg.ListGroupsResponseGroup) {
		for _, g := range raw.Do[*kmsg.ListGroupsResponse](c, &kmsg.ListGroupsRequest{Version: 5, StatesFilter: states, TypesFilter: types}).Groups {
			if g.Group == m.group {
				found = append(found, g)
			}
		}
		return found
	}
	want := []kmsg.ListGroupsResponseGroup{{Group: m.group, ProtocolType: "consumer", GroupState: "Stable", GroupType: "consumer"}}
	require.Equal(t, want, listed(nil, nil))
	require.Equal(t, want, listed([]string{"stable"}, []string{"Consumer"}))
	require.Empty(t, listed(nil, []string{"classic"}))
	require.Empty(t, listed([]string{"Empty"}, nil))

	del := func() int16 {
		return raw.Do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: 2, Groups: []string{m.group}}).Groups[0].ErrorCode
	}
	require.EqualValues(t, 68, del())
	m.leave()
	require.Equal(t, "Empty", listed(nil, nil)[0].GroupState)
	require.Zero(t, del())
	require.Empty(t, listed(nil, nil))
	require.EqualValues(t, 69, del())

	// A stranger of the classic protocol.
	stranger := b.Member(t, m.group, "")
	m.epoch = 0
	m.join()
	stranger.ID, stranger.Generation = "m", m.epoch
	require.EqualValues(t, 25, stranger.Heartbeat(4), "it is a member, but not of that protocol")
	require.EqualValues(t, 25, stranger.Sync(5, nil).ErrorCode)
}
