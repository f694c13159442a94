package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestJoinGroupOfEveryVersion(t *testing.T) {
	b := startGroups(t)
	for v := int16(0); v <= 9; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			m := b.member(t, topicName(t), "")
			r := m.joined(do[*kmsg.JoinGroupResponse](m.conn, m.joinRequest(v)))
			if v >= 4 {
				require.EqualValues(t, 79, r.ErrorCode, "MEMBER_ID_REQUIRED")
				require.EqualValues(t, -1, r.Generation)
				require.NotEmpty(t, r.MemberID)
				r = m.joined(do[*kmsg.JoinGroupResponse](m.conn, m.joinRequest(v)))
			}
			require.Zero(t, r.ErrorCode)
			require.EqualValues(t, 1, r.Generation)
			require.Equal(t, "range", str(r.Protocol))
			if v >= 7 {
				require.Equal(t, "consumer", str(r.ProtocolType))
			}
			require.Equal(t, m.id, r.LeaderID)
			require.Regexp(t, `^test-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`, m.id)
			require.False(t, r.SkipAssignment)
			require.Equal(t, []kmsg.JoinGroupResponseMember{{MemberID: m.id, ProtocolMetadata: m.protocols[0].Metadata}}, r.Members)
			s := m.sync(min(v, 5), map[string]string{m.id: "x"})
			require.Zero(t, s.ErrorCode)
			require.Equal(t, "x", string(s.MemberAssignment))
			require.Zero(t, m.heartbeat(min(v, 4)))
			require.Zero(t, m.leave(min(v, 5)).ErrorCode)
			require.EqualValues(t, 25, m.heartbeat(min(v, 4)))
		})
	}
}

func TestJoinGroupErrors(t *testing.T) {
	b := startGroups(t)
	m := b.member(t, topicName(t), "")
	expect := func(want int16, change func(*kmsg.JoinGroupRequest)) {
		t.Helper()
		for _, v := range []int16{3, 6, 9} {
			req := m.joinRequest(v)
			change(req)
			r := do[*kmsg.JoinGroupResponse](m.conn, req)
			require.Equal(t, want, r.ErrorCode, "v%d", v)
			require.EqualValues(t, -1, r.Generation)
			require.Equal(t, req.MemberID, r.MemberID)
			require.Empty(t, r.LeaderID)
			require.Empty(t, r.Members)
			if v >= 7 {
				require.Equal(t, "<null>", str(r.Protocol))
			} else {
				require.Equal(t, "", str(r.Protocol))
			}
		}
	}
	expect(24, func(r *kmsg.JoinGroupRequest) { r.Group = "" })
	expect(26, func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 5999 })
	expect(26, func(r *kmsg.JoinGroupRequest) { r.SessionTimeoutMillis = 1800001 })
	expect(25, func(r *kmsg.JoinGroupRequest) { r.MemberID = "stranger" })
	expect(23, func(r *kmsg.JoinGroupRequest) { r.Protocols = nil })
	expect(23, func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "" })
	m.stable()
	m.id = ""
	expect(23, func(r *kmsg.JoinGroupRequest) { r.Protocols = protocols("roundrobin", "t") })
	expect(23, func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })
	expect(25, func(r *kmsg.JoinGroupRequest) { r.MemberID = "stranger" })
}

// Two members: the first is told by its heartbeat; votes choose the protocol; only the leader sees the members; the
// follower's SyncGroup waits for the leader's.
func TestRebalance(t *testing.T) {
	b := startGroups(t)
	name := topicName(t)
	first, second := b.member(t, name, ""), b.member(t, name, "")
	first.protocols = protocols("range", "sticky", "t")
	first.stable()
	second.protocols = protocols("sticky", "t")
	second.joined(do[*kmsg.JoinGroupResponse](second.conn, second.joinRequest(9)))
	second.send(second.joinRequest(9))
	eventually(t, func() bool { return first.heartbeat(4) == 27 })
	require.EqualValues(t, 27, first.sync(5, nil).ErrorCode)
	leader := first.join(9)
	r, _ := second.receive(second.joinRequest(9))
	follower := second.joined(r.(*kmsg.JoinGroupResponse))
	require.Zero(t, leader.ErrorCode)
	require.Zero(t, follower.ErrorCode)
	require.EqualValues(t, 2, leader.Generation)
	require.EqualValues(t, 2, follower.Generation)
	require.Equal(t, "sticky", str(leader.Protocol))
	require.Equal(t, "sticky", str(follower.Protocol))
	require.Equal(t, first.id, leader.LeaderID)
	require.Equal(t, first.id, follower.LeaderID)
	require.Len(t, leader.Members, 2)
	require.Empty(t, follower.Members)

	first.protocols = protocols("sticky", "t")
	second.send(second.syncRequest(5, nil))
	require.Zero(t, first.sync(5, map[string]string{first.id: "a", second.id: "b"}).ErrorCode)
	sr, _ := second.receive(second.syncRequest(5, nil))
	require.Zero(t, sr.(*kmsg.SyncGroupResponse).ErrorCode)
	require.Equal(t, "b", string(sr.(*kmsg.SyncGroupResponse).MemberAssignment))
	require.Equal(t, "sticky", str(sr.(*kmsg.SyncGroupResponse).Protocol))

	// Errors of a stable group.
	second.generation = 1
	require.EqualValues(t, 22, second.heartbeat(4))
	require.EqualValues(t, 22, second.sync(5, nil).ErrorCode)
	second.generation = 2
	other := "roundrobin"
	req := second.syncRequest(5, nil)
	req.Protocol = &other
	require.EqualValues(t, 23, do[*kmsg.SyncGroupResponse](second.conn, req).ErrorCode)
	// A follower that joins again and changed nothing is told the same generation.
	require.EqualValues(t, 2, second.join(9).Generation)
	require.Zero(t, second.leave(5).ErrorCode)
	eventually(t, func() bool { return first.heartbeat(4) == 27 })
	require.EqualValues(t, 3, first.join(9).Generation)
}

func TestStaticMember(t *testing.T) {
	b := startGroups(t)
	name := topicName(t)
	first := b.member(t, name, "i").stable()
	require.Regexp(t, `^i-[0-9a-f]{8}-`, first.id)

	again := b.member(t, name, "i")
	r := again.join(9)
	require.Zero(t, r.ErrorCode)
	require.EqualValues(t, 1, r.Generation, "no rebalance")
	require.NotEqual(t, first.id, again.id)
	require.Equal(t, again.id, r.LeaderID)
	require.True(t, r.SkipAssignment)
	require.Len(t, r.Members, 1)
	require.Equal(t, "i", str(r.Members[0].InstanceID))
	require.Equal(t, "all", string(again.sync(5, nil).MemberAssignment))

	require.EqualValues(t, 82, first.heartbeat(4))
	require.EqualValues(t, 82, first.sync(5, nil).ErrorCode)
	require.EqualValues(t, 82, first.join(9).ErrorCode)
	require.EqualValues(t, 82, first.leave(5).Members[0].ErrorCode)
	require.Zero(t, again.heartbeat(4))

	old := b.member(t, name, "i")
	r = old.join(8)
	require.Zero(t, r.ErrorCode)
	require.Equal(t, again.id, r.LeaderID, "a client before v9 must not take itself for the leader")
	require.Empty(t, r.Members)
	require.False(t, r.SkipAssignment)

	// An administrator removes it.
	l := do[*kmsg.LeaveGroupResponse](old.conn, &kmsg.LeaveGroupRequest{Version: 5, Group: name, Members: []kmsg.LeaveGroupRequestMember{
		{InstanceID: &old.instance}, {InstanceID: &old.instance}, {MemberID: "stranger"}}})
	require.Zero(t, l.ErrorCode)
	require.Len(t, l.Members, 3)
	require.Zero(t, l.Members[0].ErrorCode)
	require.EqualValues(t, 25, l.Members[1].ErrorCode)
	require.EqualValues(t, 25, l.Members[2].ErrorCode)
	require.EqualValues(t, 25, old.heartbeat(4))
}

// A static member that comes back with another subscription.
func TestStaticMemberWithOtherMetadata(t *testing.T) {
	b := startGroups(t)
	name := topicName(t)
	b.member(t, name, "i").stable()
	again := b.member(t, name, "i")
	again.protocols = protocols("range", "other")
	r := again.join(9)
	require.Zero(t, r.ErrorCode)
	require.EqualValues(t, 1, r.Generation)
	require.True(t, r.SkipAssignment)
}

func TestUnknownGroup(t *testing.T) {
	b := startGroups(t)
	m := b.member(t, topicName(t), "")
	m.id, m.generation = "stranger", 1
	for v := int16(0); v <= 4; v++ {
		require.EqualValues(t, 25, m.heartbeat(v))
	}
	for v := int16(0); v <= 5; v++ {
		require.EqualValues(t, 25, m.sync(v, nil).ErrorCode)
		l := m.leave(v)
		if v < 3 {
			require.EqualValues(t, 25, l.ErrorCode, "v%d", v)
			continue
		}
		require.Zero(t, l.ErrorCode, "v%d", v)
		require.EqualValues(t, 25, l.Members[0].ErrorCode)
	}
	m.group = ""
	require.EqualValues(t, 24, m.heartbeat(4))
	require.EqualValues(t, 24, m.sync(5, nil).ErrorCode)
	require.EqualValues(t, 24, m.leave(5).ErrorCode)
	sync := m.syncRequest(5, nil)
	sync.Protocol = nil
	require.EqualValues(t, 23, do[*kmsg.SyncGroupResponse](m.conn, sync).ErrorCode)
}
