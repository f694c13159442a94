package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A static member that goes for a moment finds its partitions again, and the others notice nothing.
func TestConsumerGroupStaticMemberReturns(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	o, name := owners{}, raw.TopicName(t)
	one, two := b.consumer(t, o, name, "one", tp.Name), b.consumer(t, o, name, "two", tp.Name)
	one.instance = "i"
	one.join()
	two.join()
	until(t, func() bool { return len(one.of(tp)) == 2 && len(two.of(tp)) == 2 && one.epoch == two.epoch }, one, two)
	had, epoch := one.of(tp), one.epoch

	again := b.consumer(t, o, name, "again", tp.Name)
	again.instance = "i"
	require.EqualValues(t, 111, again.ask(again.request(0)).ErrorCode, "UNRELEASED_INSTANCE_ID")
	require.EqualValues(t, 82, again.ask(again.short(epoch)).ErrorCode)
	require.EqualValues(t, 82, again.ask(again.short(-2)).ErrorCode)
	require.EqualValues(t, 82, again.ask(again.short(-1)).ErrorCode)

	one.drop()
	left := one.ask(one.short(-2))
	require.Zero(t, left.ErrorCode)
	require.EqualValues(t, -2, left.MemberEpoch)
	require.EqualValues(t, 110, one.ask(one.short(epoch)).ErrorCode)
	for range 5 {
		two.beat()
	}
	require.Equal(t, epoch, two.epoch)
	require.Len(t, two.of(tp), 2)
	for _, m := range describeConsumers(two.Conn, 1, name)[0].Members {
		if m.InstanceID != nil {
			require.EqualValues(t, -2, m.MemberEpoch)
			require.Len(t, m.Assignment.TopicPartitions, 1)
		}
	}

	again.join()
	require.Equal(t, epoch, again.epoch, "no rebalance")
	require.Equal(t, had, again.of(tp))
	require.EqualValues(t, 82, one.ask(one.short(epoch)).ErrorCode)
	two.beat()
	require.Equal(t, epoch, two.epoch)

	again.leave() // for good
	until(t, func() bool { return len(two.of(tp)) == 4 }, two)
}

// A static member that comes back with another subscription.
func TestConsumerGroupStaticMemberChanges(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp, other := raw.CreateTopic(c, 2), raw.CreateTopic(c, 3)
	o, name := owners{}, raw.TopicName(t)
	one := b.consumer(t, o, name, "one", tp.Name)
	one.instance = "i"
	one.join()
	until(t, func() bool { return len(one.of(tp)) == 2 }, one)
	one.drop()
	require.Zero(t, one.ask(one.short(-2)).ErrorCode)
	again := b.consumer(t, o, name, "again", other.Name)
	again.instance = "i"
	again.join()
	until(t, func() bool { return len(again.of(other)) == 3 && len(again.of(tp)) == 0 }, again)
	require.Greater(t, again.epoch, one.epoch)
}

// An administrator removes members with LeaveGroup, static ones by their instance.
func TestConsumerGroupMembersCanBeRemoved(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	name := raw.TopicName(t)
	one, two := b.consumer(t, owners{}, name, "one", tp.Name), b.consumer(t, owners{}, name, "two", tp.Name)
	one.instance = "i"
	one.join()
	two.join()
	admin := b.Member(t, name, "")
	l := removeMembers(admin, memberRef{"", "i"}, memberRef{"two", ""}, memberRef{"stranger", ""}, memberRef{"", "j"})
	require.Equal(t, []int16{0, 0, 25, 25}, l)
	require.EqualValues(t, 25, one.ask(one.short(one.epoch)).ErrorCode)
	require.EqualValues(t, 25, two.ask(two.short(two.epoch)).ErrorCode)
	require.Equal(t, "Empty", describeConsumers(one.Conn, 1, name)[0].State)
}
