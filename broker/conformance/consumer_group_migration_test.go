package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mover is a classic consumer of one topic whose group is on its way to the new protocol, or back.
type mover struct {
	*member
	owners owners
	topic  topic
	eager  bool // gives up everything before it joins again
	owned  []int32
}

func (b *broker) mover(t *testing.T, o owners, group, instance string, tp topic, eager bool) *mover {
	m := &mover{member: b.member(t, group, instance), owners: o, topic: tp, eager: eager}
	m.describe()
	return m
}

// describe puts what the member has into its subscription.
func (m *mover) describe() {
	meta := kmsg.ConsumerMemberMetadata{Version: 1, Topics: []string{m.topic.name}}
	if len(m.owned) > 0 {
		meta.OwnedPartitions = []kmsg.ConsumerMemberMetadataOwnedPartition{{Topic: m.topic.name, Partitions: m.owned}}
	}
	m.protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}}
}

func (m *mover) has(now []int32) {
	m.t.Helper()
	for _, p := range m.owned {
		delete(m.owners, partition{m.topic.id, p})
	}
	for _, p := range now {
		require.NotContains(m.t, m.owners, partition{m.topic.id, p}, "a classic member gets what another has")
		m.owners[partition{m.topic.id, p}] = m.id
	}
	m.owned = now
}

// enter joins and syncs. If it must give something up it joins once more, to say so.
func (m *mover) enter(all ...int32) {
	m.t.Helper()
	for {
		if m.eager {
			m.has(nil)
		}
		m.describe()
		r := m.join(9)
		require.Zero(m.t, r.ErrorCode)
		s := m.sync(5, map[string]string{m.id: string(assignment(m.topic, all...))})
		if s.ErrorCode == 27 {
			continue // something has changed in between
		}
		require.Zero(m.t, s.ErrorCode)
		before := m.owned
		m.has(parse(m.t, m.topic, s.MemberAssignment))
		if gaveUp := minus(before, m.owned); len(gaveUp) == 0 {
			return
		}
	}
}

// step is a heartbeat, and what follows from it.
func (m *mover) step() {
	m.t.Helper()
	switch code := m.heartbeat(4); code {
	case 0:
	case 27:
		m.enter()
	default:
		require.Fail(m.t, "heartbeat", "%d", code)
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

func assignment(t topic, partitions ...int32) []byte {
	a := kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{{Topic: t.name, Partitions: partitions}}}
	return a.AppendTo(nil)
}

func parse(t require.TestingT, tp topic, b []byte) (all []int32) {
	var a kmsg.ConsumerMemberAssignment
	if len(b) == 0 {
		return nil
	}
	require.NoError(t, a.ReadFrom(b))
	for _, at := range a.Topics {
		require.Equal(t, tp.name, at.Topic)
		all = append(all, at.Partitions...)
	}
	return all
}

// The first member of the new protocol in a classic group makes it a consumer group, the last one that goes a classic group again. Nobody
// loses a partition before it is told, none has two owners, and the offsets stay.
func TestGroupMigratesAndBack(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 4)
	for _, eager := range []bool{true, false} {
		t.Run(fmt.Sprintf("eager %v", eager), func(t *testing.T) {
			o, name := owners{}, topicName(t)
			old := b.mover(t, o, name, "", tp, eager)
			old.enter(0, 1, 2, 3)
			require.Len(t, old.owned, 4)
			require.Equal(t, []int16{0}, old.commit(9, tp, offset{0, 7, -1, ""}))
			require.Equal(t, "classic", typeOf(old.conn, name))
			generation := old.generation

			one := b.consumer(t, o, name, "one", tp.name)
			one.join()
			require.Equal(t, "consumer", typeOf(one.conn, name))
			require.Empty(t, one.owned, "the other has it still")
			eventually(t, func() bool { return old.heartbeat(4) == 27 })
			until(t, func() bool { old.step(); return len(o) == 4 && len(one.owned) == 2 }, one)
			require.Len(t, old.owned, 2)
			require.Greater(t, old.generation, generation)
			eventually(t, func() bool { old.step(); one.beat(); return describeConsumers(one.conn, 1, name)[0].State == "Stable" })
			types := map[string]int8{}
			for _, m := range describeConsumers(one.conn, 1, name)[0].Members {
				types[m.MemberID] = m.MemberType
			}
			require.Equal(t, map[string]int8{"one": 1, old.id: 0}, types)
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 7, -1, "", 0)}, one.as(b, "", -1).fetch(8, tp, 0))
			require.Equal(t, []int16{0}, old.commit(8, tp, offset{0, 8, -1, ""}), "a classic member commits as ever")
			generation = old.generation
			for _, wrong := range []int32{0, generation + 1} {
				old.generation = wrong
				require.Equal(t, []int16{22}, old.commit(9, tp, offset{old.owned[0], 9, -1, ""}))
			}
			old.generation = generation

			one.leave()
			require.Equal(t, "classic", typeOf(one.conn, name))
			eventually(t, func() bool { return old.heartbeat(4) == 27 || old.heartbeat(4) == 22 })
			old.enter(0, 1, 2, 3)
			require.Len(t, old.owned, 4)
			require.Zero(t, old.heartbeat(4))
			require.Equal(t, "Stable", describeOne(old.conn, 5, name, false).State)
			require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 8, -1, "", 0)}, old.as(old.group).fetch(8, tp, 0))
		})
	}
}

// as is a client that is no member.
func (m *mover) as(group string) *member { return &member{conn: m.conn, group: group, generation: -1} }

// A classic member that comes into a consumer group takes part, without a leader.
func TestClassicMemberInAConsumerGroup(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 4)
	o, name := owners{}, topicName(t)
	one := b.consumer(t, o, name, "one", tp.name)
	one.join()
	until(t, func() bool { return len(one.owned) == 4 }, one)

	old := b.mover(t, o, name, "", tp, true)
	first := do[*kmsg.JoinGroupResponse](old.conn, old.joinRequest(9))
	require.EqualValues(t, 79, first.ErrorCode, "MEMBER_ID_REQUIRED")
	old.id = first.MemberID
	r := old.joined(do[*kmsg.JoinGroupResponse](old.conn, old.joinRequest(9)))
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "range", str(r.Protocol))
	require.Equal(t, "consumer", str(r.ProtocolType))
	require.Empty(t, r.LeaderID)
	require.Empty(t, r.Members)
	require.False(t, r.SkipAssignment)
	until(t, func() bool { old.step(); return len(old.owned) == 2 }, one)
	require.Len(t, one.owned, 2)
	require.Zero(t, old.heartbeat(4))

	old.generation++
	require.EqualValues(t, 22, old.heartbeat(4))
	require.EqualValues(t, 22, old.sync(5, nil).ErrorCode)
	old.generation--
	req := old.syncRequest(5, nil)
	req.Protocol = ptr("roundrobin")
	require.EqualValues(t, 23, do[*kmsg.SyncGroupResponse](old.conn, req).ErrorCode)
	stranger := b.mover(t, o, name, "", tp, true)
	stranger.id, stranger.generation = "stranger", old.generation
	require.EqualValues(t, 25, stranger.heartbeat(4))
	require.EqualValues(t, 25, stranger.sync(5, nil).ErrorCode)
	stranger.id = ""
	join := stranger.joinRequest(9)
	join.ProtocolType = "connect"
	require.EqualValues(t, 23, do[*kmsg.JoinGroupResponse](stranger.conn, join).ErrorCode)
	join = stranger.joinRequest(9)
	join.Protocols[0].Name = "roundrobin" // the classic members have to have one in common, as the group may become theirs
	require.EqualValues(t, 23, do[*kmsg.JoinGroupResponse](stranger.conn, join).ErrorCode)

	old.has(nil)
	require.Zero(t, old.leave(5).Members[0].ErrorCode)
	require.EqualValues(t, 25, old.heartbeat(4))
	until(t, func() bool { return len(one.owned) == 4 }, one)
}

// Members that wait for a rebalance when the group migrates are told to join again.
func TestMigrationEndsARebalance(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 2)
	o, name := owners{}, topicName(t)
	old := b.mover(t, o, name, "", tp, true)
	old.enter(0, 1)
	waits := b.mover(t, o, name, "", tp, true)
	waits.id = do[*kmsg.JoinGroupResponse](waits.conn, waits.joinRequest(9)).MemberID
	join := waits.joinRequest(9)
	waits.send(join)
	eventually(t, func() bool { return old.heartbeat(4) == 27 })

	one := b.consumer(t, o, name, "one", tp.name)
	one.join()
	r, _ := waits.receive(join)
	require.EqualValues(t, 27, r.(*kmsg.JoinGroupResponse).ErrorCode)
	require.Equal(t, "consumer", typeOf(one.conn, name))
	waits.enter()
	until(t, func() bool { old.step(); waits.step(); return len(o) == 2 }, one)
}

// Groups that are not of consumers stay what they are.
func TestOtherGroupsDoNotMigrate(t *testing.T) {
	b := startGroups(t)
	m := b.member(t, topicName(t), "")
	join := m.joinRequest(3)
	join.ProtocolType = "connect"
	m.joined(do[*kmsg.JoinGroupResponse](m.conn, join))
	one := b.consumer(t, owners{}, m.group, "one", "t")
	require.EqualValues(t, 69, one.ask(one.request(0)).ErrorCode)
	require.EqualValues(t, 69, one.ask(one.short(m.generation)).ErrorCode)
	require.Zero(t, m.heartbeat(4))
}

// A static member changes its protocol, and back: its partitions stay with it, and its earlier self is fenced.
func TestStaticMemberMigratesAndBack(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 4)
	o, name := owners{}, topicName(t)
	old := b.mover(t, o, name, "i", tp, true)
	old.enter(0, 1, 2, 3)
	old.has(nil) // its process ends

	one := b.consumer(t, o, name, "one", tp.name)
	one.instance = "i"
	one.join()
	until(t, func() bool { return len(one.owned) == 4 }, one)
	require.EqualValues(t, 82, old.heartbeat(4))
	require.Len(t, describeConsumers(one.conn, 1, name)[0].Members, 1)
	one.drop()

	again := b.mover(t, o, name, "i", tp, true)
	r := again.join(9)
	require.Zero(t, r.ErrorCode)
	require.Equal(t, "classic", typeOf(again.conn, name))
	eventually(t, func() bool { return again.sync(5, nil).ErrorCode == 0 })
	require.Len(t, parse(t, tp, again.sync(5, nil).MemberAssignment), 4)
	require.EqualValues(t, 69, one.ask(one.short(one.epoch)).ErrorCode)
}

// A group without members is of no kind: whoever comes first decides, and the offsets stay.
func TestEmptyGroupsAreOfNoKind(t *testing.T) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 1)
	o, name := owners{}, topicName(t)
	one := b.consumer(t, o, name, "one", tp.name)
	require.Equal(t, []int16{0}, one.as(b, "", -1).commit(9, tp, offset{0, 3, -1, ""}))
	require.Equal(t, "classic", typeOf(one.conn, name))
	one.join()
	until(t, func() bool { return len(one.owned) == 1 }, one)
	require.Equal(t, "consumer", typeOf(one.conn, name))
	one.leave()
	require.Equal(t, "consumer", typeOf(one.conn, name))
	old := b.mover(t, o, name, "", tp, true)
	old.enter(0)
	require.Equal(t, "classic", typeOf(one.conn, name))
	require.EqualValues(t, 3, old.fetch(8, tp, 0)[0].Offset)
	old.has(nil)
	old.leave(5)
	one.epoch = 0
	one.join()
	until(t, func() bool { return len(one.owned) == 1 }, one)
	require.EqualValues(t, 3, old.fetch(8, tp, 0)[0].Offset)
}
