package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

type heartbeat = *kmsg.ConsumerGroupHeartbeatRequest

func ptr[T any](v T) *T { return &v }

func TestConsumerGroupHeartbeatErrors(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	owned := []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: tp.ID, Partitions: []int32{0}}}
	for _, c := range []struct {
		name   string
		code   int16
		change func(heartbeat)
	}{
		{"no group", 42, func(r heartbeat) { r.Group = "" }},
		{"a blank group", 42, func(r heartbeat) { r.Group = " " }},
		{"no member id", 42, func(r heartbeat) { r.MemberID = "" }},
		{"an empty instance id", 42, func(r heartbeat) { r.InstanceID = ptr("") }},
		{"an empty rack", 42, func(r heartbeat) { r.RackID = ptr("") }},
		{"an epoch that is none", 42, func(r heartbeat) { r.MemberEpoch = -3 }},
		{"a dynamic member that leaves for now", 42, func(r heartbeat) { r.MemberEpoch = -2 }},
		{"a join without a rebalance timeout", 42, func(r heartbeat) { r.RebalanceTimeoutMillis = -1 }},
		{"a join that does not say that it has nothing", 42, func(r heartbeat) { r.Topics = nil }},
		{"a join that has something", 42, func(r heartbeat) { r.Topics = owned }},
		{"a join without a subscription", 42, func(r heartbeat) { r.SubscribedTopicNames = nil }},
		{"an unknown assignor", 112, func(r heartbeat) { r.ServerAssignor = ptr("sticky") }},
		{"an empty assignor", 112, func(r heartbeat) { r.ServerAssignor = ptr("") }},
		{"a bad regular expression", 128, func(r heartbeat) { r.SubscribedTopicRegex = ptr("(") }},
		{"a heartbeat in an unknown group", 69, func(r heartbeat) { r.MemberEpoch = 3 }},
		{"a leave in an unknown group", 69, func(r heartbeat) { r.MemberEpoch = -1 }},
	} {
		r := m.request(0)
		c.change(r)
		got := m.ask(r)
		require.Equal(t, c.code, got.ErrorCode, c.name)
		require.NotNil(t, got.ErrorMessage, c.name)
		require.Nil(t, got.MemberID, c.name)
		require.Nil(t, got.Assignment, c.name)
	}
	require.EqualValues(t, 69, describeConsumers(m.Conn, 1, m.group)[0].ErrorCode, "no refused request makes a group")

	m.join()
	r := m.short(m.epoch)
	r.MemberID = "stranger"
	require.EqualValues(t, 25, m.ask(r).ErrorCode)
	r.MemberEpoch = -1
	require.EqualValues(t, 25, m.ask(r).ErrorCode)
	r = m.short(m.epoch)
	r.InstanceID = ptr("i")
	require.EqualValues(t, 25, m.ask(r).ErrorCode, "a dynamic member cannot become a static one")
	r = m.short(m.epoch)
	r.SubscribedTopicRegex = ptr("[")
	require.EqualValues(t, 128, m.ask(r).ErrorCode)
}

// Before v1 the broker gives the member its id.
func TestConsumerGroupHeartbeatNamesMembersInV0(t *testing.T) {
	b := startGroups(t)
	m := b.consumer(t, owners{}, raw.TopicName(t), "", raw.CreateTopic(b.Dial(t), 2).Name)
	r := m.request(0)
	r.Version = 0
	got := m.ask(r)
	require.Zero(t, got.ErrorCode)
	require.Regexp(t, `^[A-Za-z0-9_-]{22}$`, *got.MemberID)
	m.id = *got.MemberID
	m.take(got)
	until(t, func() bool { return len(m.owned) == 2 }, m)
}

func TestConsumerGroupOfOne(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	require.NotNil(t, m.join().Assignment, "the answer to a join has an assignment, though it may be empty")
	until(t, func() bool { return len(m.of(tp)) == 4 }, m)
	require.Positive(t, m.epoch)
	require.EqualValues(t, 5000, m.interval)

	got := m.ask(m.short(m.epoch))
	require.Zero(t, got.ErrorCode)
	require.Nil(t, got.Assignment, "nothing has changed")
	require.Equal(t, m.epoch, got.MemberEpoch)
	got = m.ask(m.request(m.epoch))
	require.Len(t, assigned(got), 4, "a request that says everything is answered with everything")

	// The answer to the join got lost, or the client begins anew with its id.
	epoch := m.epoch
	got = m.join()
	require.Equal(t, epoch, got.MemberEpoch)
	require.Len(t, m.of(tp), 4)

	// A topic that does not exist, or none, is no error.
	m.names = []string{raw.TopicName(t)}
	m.take(m.ask(m.request(m.epoch)))
	until(t, func() bool { return len(m.owned) == 0 }, m)
	m.leave()
	require.EqualValues(t, 25, m.ask(m.short(m.epoch)).ErrorCode)
	require.EqualValues(t, 25, m.ask(m.short(-1)).ErrorCode)
}

// A partition that moves is with nobody in between: the new member gets it when the old one has said that it gave it up.
func TestConsumerGroupMovesPartitions(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	o, name := owners{}, raw.TopicName(t)
	one, two := b.consumer(t, o, name, "one", tp.Name), b.consumer(t, o, name, "two", tp.Name)
	one.join()
	until(t, func() bool { return len(one.of(tp)) == 4 }, one)
	before := one.epoch

	two.join()
	require.Empty(t, two.owned)
	var revoked []partition
	raw.Eventually(t, func() bool { // the first is told, and does not say yet that it gave up anything
		r := one.ask(one.short(one.epoch))
		require.Zero(t, r.ErrorCode)
		require.Equal(t, before, r.MemberEpoch, "it stays at its epoch until it has given up what it must")
		if r.Assignment != nil {
			revoked = assigned(r)
		}
		return r.Assignment != nil
	})
	require.Len(t, revoked, 2)
	for range 5 {
		two.beat()
		require.Empty(t, two.owned)
		r := one.short(one.epoch)
		r.Topics = one.topics()
		require.Equal(t, before, one.ask(r).MemberEpoch)
	}
	one.assign(revoked)
	require.Greater(t, one.beat().MemberEpoch, before)
	until(t, func() bool { return len(two.of(tp)) == 2 }, one, two)
	require.Len(t, one.of(tp), 2)
	raw.Eventually(t, func() bool { return describeConsumers(one.Conn, 1, name)[0].State == "Stable" })

	two.leave()
	until(t, func() bool { return len(one.of(tp)) == 4 }, one)
	one.leave()
	require.Equal(t, "Empty", describeConsumers(one.Conn, 1, name)[0].State)
}

// A member that cannot be at the epoch that it says must begin anew (110), except that the last answer may have got lost.
func TestConsumerGroupFencesEpochs(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	one, _, _ := b.pair(t, tp, raw.TopicName(t))
	for _, epoch := range []int32{one.epoch + 1, one.epoch - 1} {
		require.EqualValues(t, 110, one.ask(one.short(epoch)).ErrorCode)
	}
	r := one.short(one.epoch - 1)
	r.Topics = one.topics()
	got := one.ask(r)
	require.Zero(t, got.ErrorCode, "it has nothing that it should not have")
	require.Equal(t, one.epoch, got.MemberEpoch)
	r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{{TopicID: tp.ID, Partitions: []int32{0, 1, 2, 3}}}
	require.EqualValues(t, 110, one.ask(r).ErrorCode)
}

func TestConsumerGroupAssignors(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	left, right := raw.CreateTopic(c, 3), raw.CreateTopic(c, 3)
	for _, assignor := range []string{"range", "uniform"} {
		t.Run(assignor, func(t *testing.T) {
			o, name := owners{}, raw.TopicName(t)
			one, two := b.consumer(t, o, name, "one", left.Name, right.Name), b.consumer(t, o, name, "two", right.Name, left.Name)
			one.assignor, two.assignor = &assignor, &assignor
			one.join()
			two.join()
			until(t, func() bool { return len(o) == 6 && len(one.owned) > 0 && len(two.owned) > 0 }, one, two)
			require.Equal(t, assignor, describeConsumers(c, 1, name)[0].AssignorName)
			if assignor == "range" { // the same partitions of both topics
				require.Equal(t, one.of(left), one.of(right))
				require.Equal(t, two.of(left), two.of(right))
				return
			}
			require.Len(t, one.owned, 3)
			require.Len(t, two.owned, 3)
			kept := one.owned
			three := b.consumer(t, o, name, "three", left.Name, right.Name)
			three.join()
			until(t, func() bool { return len(three.owned) == 2 && len(o) == 6 }, one, two, three)
			for _, p := range one.owned {
				require.Contains(t, kept, p, "nobody gets a partition in exchange for another")
			}
		})
	}
}

// A group has a heartbeat interval of its own, if it is set for it.
func TestConsumerGroupHeartbeatIntervalOfTheGroup(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", raw.CreateTopic(c, 1).Name)
	m.join()
	until(t, func() bool { return len(m.owned) == 1 && m.interval == 5000 }, m)
	require.Zero(t, alter(c, ofGroup, m.group, set("consumer.heartbeat.interval.ms", "6000")))
	until(t, func() bool { return m.interval == 6000 }, m)
	require.Zero(t, alter(c, ofGroup, m.group, unset("consumer.heartbeat.interval.ms")))
	until(t, func() bool { return m.interval == 5000 }, m)
}

// One that must give up partitions and does not is removed after its rebalance timeout.
func TestConsumerGroupRebalanceTimeout(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	name := raw.TopicName(t)
	one, two := b.consumer(t, owners{}, name, "one", tp.Name), b.consumer(t, owners{}, name, "two", tp.Name)
	one.rebalance = 1000
	one.join()
	until(t, func() bool { return len(one.of(tp)) == 2 }, one)
	two.join()
	stubborn := one.topics()
	raw.Eventually(t, func() bool {
		r := one.short(one.epoch)
		r.Topics = stubborn
		two.beat()
		return one.ask(r).ErrorCode == 25
	})
	until(t, func() bool { return len(two.of(tp)) == 2 }, two)
}
