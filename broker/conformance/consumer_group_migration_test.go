package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// mover is a classic consumer of one topic whose group is on its way to the new protocol, or back.
type mover struct {
	*raw.Member
	owners owners
	topic  raw.Topic
	eager  bool // gives up everything before it joins again
	owned  []int32
}

func (b *broker) mover(t *testing.T, o owners, group, instance string, tp raw.Topic, eager bool) *mover {
	m := &mover{Member: b.Member(t, group, instance), owners: o, topic: tp, eager: eager}
	m.describe()
	return m
}

// describe puts what the member has into its subscription.
func (m *mover) describe() {
	meta := kmsg.ConsumerMemberMetadata{Version: 1, Topics: []string{m.topic.Name}}
	if len(m.owned) > 0 {
		meta.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: m.topic.Name, Partitions: m.owned}}
	}
	m.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}}
}

func (m *mover) has(now []int32) {
	m.T.Helper()
	for _, p := range m.owned {
		delete(m.owners, partition{m.topic.ID, p})
	}
	for _, p := range now {
		require.NotContains(m.T, m.owners, partition{m.topic.ID, p}, "a classic member gets what another has")
		m.owners[partition{m.topic.ID, p}] = m.ID
	}
	m.owned = now
}

// enter joins and syncs. If it must give something up it joins once more, to say so.
func (m *mover) enter(all ...int32) {
	m.T.Helper()
	for {
		if m.eager {
			m.has(nil)
		}
		m.describe()
		r := m.Join(9)
		require.Zero(m.T, r.ErrorCode)
		s := m.Sync(5, map[string]string{m.ID: string(assignment(m.topic, all...))})
		if s.ErrorCode == 27 {
			continue // something has changed in between
		}
		require.Zero(m.T, s.ErrorCode)
		before := m.owned
		m.has(parse(m.T, m.topic, s.MemberAssignment))
		if gaveUp := minus(before, m.owned); len(gaveUp) == 0 {
			return
		}
	}
}

// step is a heartbeat, and what follows from it.
func (m *mover) step() {
	m.T.Helper()
	switch code := m.Heartbeat(4); code {
	case 0:
	case 27:
		m.enter()
	default:
		require.Fail(m.T, "heartbeat", "%d", code)
	}
}

func minus(a, b []int32) (left []int32) {
	for _, n := range a {
		found := false
		for _, o := range b {
			found = found || n == o
		}
		if !found {
			left = append(left, n)
		}
	}
	return left
}

func assignment(t raw.Topic, partitions ...int32) []byte {
	a := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: t.Name, Partitions: partitions}}}
	return a.AppendTo(nil)
}

func parse(t require.TestingT, tp raw.Topic, b []byte) (all []int32) {
	var a kmsg.ConsumerMemberAssignment
	if len(b) == 0 {
		return nil
	}
	require.NoError(t, a.ReadFrom(b))
	for _, at := range a.Topics {
		require.Equal(t, tp.Name, at.Topic)
		all = append(all, at.Partitions...)
	}
	return all
}

// The first member of the new protocol in a classic group makes it a consumer group, the last one that goes a classic group again. Nobody
// loses a partition before it is told, none has two owners, and the offsets stay.
func TestGroupMigratesAndBack(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	for _, eager := range []bool{true, false} {
		t.Run(fmt.Sprintf("eager %v", eager), func(t *testing.T) {
			o, name := owners{}, raw.TopicName(t)
			old := b.mover(t, o, name, "", tp, eager)
			old.enter(0, 1, 2, 3)
			require.Len(t, old.owned, 4)
			require.Equal(t, []int16{0}, old.Commit(9, tp, raw.NewOffset(0, 7, -1, "")))
			require.Equal(t, "classic", typeOf(old.Conn, name))
			generation := old.Generation

			one := b.consumer(t, o, name, "one", tp.Name)
			one.join()
			require.Equal(t, "consumer", typeOf(one.Conn, name))
			require.Empty(t, one.owned, "the other has it still")
			raw.Eventually(t, func() bool { return old.Heartbeat(4) == 27 })
			until(t, func() bool { old.step(); return len(o) == 4 && len(one.owned) == 2 }, one)
			require.Len(t, old.owned, 2)
			require.Greater(t, old.Generation, generation)
			raw.Eventually(t, func() bool { old.step(); one.beat(); return describeConsumers(one.Conn, 1, name)[0].State == "Stable" })
			types := map[string]int8{}
			for _, m := range describeConsumers(one.Conn, 1, name)[0].Members {
				types[m.MemberID] = m.MemberType
			}
			require.Equal(t, map[string]int8{"one": 1, old.ID: 0}, types)
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 7, -1, "", 0)}, one.as(b, "", -1).Fetch(8, tp, 0))
			require.Equal(t, []int16{0}, old.Commit(8, tp, raw.NewOffset(0, 8, -1, "")), "a classic member commits as ever")
			generation = old.Generation
			for _, wrong := range []int32{0, generation + 1} {
				old.Generation = wrong
				require.Equal(t, []int16{22}, old.Commit(9, tp, raw.NewOffset(old.owned[0], 9, -1, "")))
			}
			old.Generation = generation

			one.leave()
			require.Equal(t, "classic", typeOf(one.Conn, name))
			raw.Eventually(t, func() bool { return old.Heartbeat(4) == 27 || old.Heartbeat(4) == 22 })
			old.enter(0, 1, 2, 3)
			require.Len(t, old.owned, 4)
			require.Zero(t, old.Heartbeat(4))
			require.Equal(t, "Stable", raw.DescribeGroup(old.Conn, 5, name, false).State)
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 8, -1, "", 0)}, old.as(old.Group).Fetch(8, tp, 0))
		})
	}
}

// as is a client that is no member.
func (m *mover) as(group string) *raw.Member {
	return &raw.Member{Conn: m.Conn, Group: group, Generation: -1}
}

// A classic member that comes into a consumer group takes part, without a leader.
func TestClassicMemberInAConsumerGroup(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	o, name := owners{}, raw.TopicName(t)
	one := b.consumer(t, o, name, "one", tp.Name)
	one.join()
	until(t, func() bool { return len(one.owned) == 4 }, one)

	old := b.mover(t, o, name, "", tp, true)
	first := raw.Do[*kmsg.JoinGroupResponse](old.Conn, old.JoinRequest(9))
	require.EqualValues(t, 79, first.ErrorCode, "MEMBER_ID_REQUIRED")
	old.ID = first.MemberID
	r := old.Joined(raw.Do[*kmsg.JoinGroupResponse](old.Conn, old.JoinRequest(9)))
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "range", str(r.Protocol))
	require.Equal(t, "consumer", str(r.ProtocolType))
	require.Empty(t, r.LeaderID)
	require.Empty(t, r.Members)
	require.False(t, r.SkipAssignment)
	until(t, func() bool { old.step(); return len(old.owned) == 2 }, one)
	require.Len(t, one.owned, 2)
	require.Zero(t, old.Heartbeat(4))

	old.Generation++
	require.EqualValues(t, 22, old.Heartbeat(4))
	require.EqualValues(t, 22, old.Sync(5, nil).ErrorCode)
	old.Generation--
	req := old.SyncRequest(5, nil)
	req.Protocol = ptr("roundrobin")
	require.EqualValues(t, 23, raw.Do[*kmsg.SyncGroupResponse](old.Conn, req).ErrorCode)
	stranger := b.mover(t, o, name, "", tp, true)
	stranger.ID, stranger.Generation = "stranger", old.Generation
	require.EqualValues(t, 25, stranger.Heartbeat(4))
	require.EqualValues(t, 25, stranger.Sync(5, nil).ErrorCode)
	stranger.ID = ""
	join := stranger.JoinRequest(9)
	join.ProtocolType = "connect"
	require.EqualValues(t, 23, raw.Do[*kmsg.JoinGroupResponse](stranger.Conn, join).ErrorCode)
	join = stranger.JoinRequest(9)
	join.Protocols[0].Name = "roundrobin" // the classic members have to have one in common, as the group may become theirs
	require.EqualValues(t, 23, raw.Do[*kmsg.JoinGroupResponse](stranger.Conn, join).ErrorCode)

	old.has(nil)
	require.Zero(t, old.Leave(5).Members[0].ErrorCode)
	require.EqualValues(t, 25, old.Heartbeat(4))
	until(t, func() bool { return len(one.owned) == 4 }, one)
}

// Members that wait for a rebalance when the group migrates are told to join again.
func TestMigrationEndsARebalance(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	o, name := owners{}, raw.TopicName(t)
	old := b.mover(t, o, name, "", tp, true)
	old.enter(0, 1)
	waits := b.mover(t, o, name, "", tp, true)
	waits.ID = raw.Do[*kmsg.JoinGroupResponse](waits.Conn, waits.JoinRequest(9)).MemberID
	join := waits.JoinRequest(9)
	waits.Send(join)
	raw.Eventually(t, func() bool { return old.Heartbeat(4) == 27 })

	one := b.consumer(t, o, name, "one", tp.Name)
	one.join()
	r, _ := waits.Receive(join)
	require.EqualValues(t, 27, r.(*kmsg.JoinGroupResponse).ErrorCode)
	require.Equal(t, "consumer", typeOf(one.Conn, name))
	waits.enter()
	until(t, func() bool { old.step(); waits.step(); return len(o) == 2 }, one)
}

// Groups that are not of consumers stay what they are.
func TestOtherGroupsDoNotMigrate(t *testing.T) {
	b := startGroups(t)
	m := b.Member(t, raw.TopicName(t), "")
	join := m.JoinRequest(3)
	join.ProtocolType = "connect"
	m.Joined(raw.Do[*kmsg.JoinGroupResponse](m.Conn, join))
	one := b.consumer(t, owners{}, m.Group, "one", "t")
	require.EqualValues(t, 69, one.ask(one.request(0)).ErrorCode)
	require.EqualValues(t, 69, one.ask(one.short(m.Generation)).ErrorCode)
	require.Zero(t, m.Heartbeat(4))
}

// A static member changes its protocol, and back: its partitions stay with it, and its earlier self is fenced.
func TestStaticMemberMigratesAndBack(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	o, name := owners{}, raw.TopicName(t)
	old := b.mover(t, o, name, "i", tp, true)
	old.enter(0, 1, 2, 3)
	old.has(nil) // its process ends

	one := b.consumer(t, o, name, "one", tp.Name)
	one.instance = "i"
	one.join()
	until(t, func() bool { return len(one.owned) == 4 }, one)
	require.EqualValues(t, 82, old.Heartbeat(4))
	require.Len(t, describeConsumers(one.Conn, 1, name)[0].Members, 1)
	one.drop()

	again := b.mover(t, o, name, "i", tp, true)
	r := again.Join(9)
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "classic", typeOf(again.Conn, name))
	raw.Eventually(t, func() bool { return again.Sync(5, nil).ErrorCode == 0 })
	require.Len(t, parse(t, tp, again.Sync(5, nil).MemberAssignment), 4)
	require.EqualValues(t, 69, one.ask(one.short(one.epoch)).ErrorCode)
}

// A group without members is of no kind: whoever comes first decides, and the offsets stay.
func TestEmptyGroupsAreOfNoKind(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	o, name := owners{}, raw.TopicName(t)
	one := b.consumer(t, o, name, "one", tp.Name)
	require.Equal(t, []int16{0}, one.as(b, "", -1).Commit(9, tp, raw.NewOffset(0, 3, -1, "")))
	require.Equal(t, "classic", typeOf(one.Conn, name))
	one.join()
	until(t, func() bool { return len(one.owned) == 1 }, one)
	require.Equal(t, "consumer", typeOf(one.Conn, name))
	one.leave()
	require.Equal(t, "consumer", typeOf(one.Conn, name))
	old := b.mover(t, o, name, "", tp, true)
	old.enter(0)
	require.Equal(t, "classic", typeOf(one.Conn, name))
	require.EqualValues(t, 3, old.Fetch(8, tp, 0)[0].Offset)
	old.has(nil)
	old.Leave(5)
	one.epoch = 0
	one.join()
	until(t, func() bool { return len(one.owned) == 1 }, one)
	require.EqualValues(t, 3, old.Fetch(8, tp, 0)[0].Offset)
}
