package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestJoinGroupOfEveryVersion(t *testing.T) {
	b := startGroups(t)
	for v := int16(0); v <= 9; v++ {
		t.Run(fmt.Sprint(v), func(t *testing.T) {
			m := b.Member(t, raw.TopicName(t), "")
			r := m.Joined(raw.Do[*kmsg.JoinGroupResponse](m.Conn, m.JoinRequest(v)))
			if v >= 4 {
				require.EqualValues(t, 79, r.ErrorCode, "MEMBER_ID_REQUIRED")
				require.EqualValues(t, -1, r.Generation)
				require.NotEmpty(t, r.MemberID)
				r = m.Joined(raw.Do[*kmsg.JoinGroupResponse](m.Conn, m.JoinRequest(v)))
			}
			require.Zero(t, r.ErrorCode)
			require.EqualValues(t, 1, r.Generation)
			require.Equal(t, "range", str(r.Protocol))
			if v >= 7 {
				require.Equal(t, "consumer", str(r.ProtocolType))
			}
			require.Equal(t, m.ID, r.LeaderID)
			require.Regexp(t, `^test-[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$`, m.ID)
			require.False(t, r.SkipAssignment)
			require.Equal(t, []kmsg.JoinGroupResponseMember{{MemberID: m.ID, ProtocolMetadata: m.Protocols[0].Metadata}}, r.Members)
			s := m.Sync(min(v, 5), map[string]string{m.ID: "x"})
			require.Zero(t, s.ErrorCode)
			require.Equal(t, "x", string(s.MemberAssignment))
			require.Zero(t, m.Heartbeat(min(v, 4)))
			require.Zero(t, m.Leave(min(v, 5)).ErrorCode)
			require.EqualValues(t, 25, m.Heartbeat(min(v, 4)))
		})
	}
}

func TestJoinGroupErrors(t *testing.T) {
	b := startGroups(t)
	m := b.Member(t, raw.TopicName(t), "")
	expect := func(want int16, change func(*kmsg.JoinGroupRequest)) {
		t.Helper()
		for _, v := range []int16{3, 6, 9} {
			req := m.JoinRequest(v)
			change(req)
			r := raw.Do[*kmsg.JoinGroupResponse](m.Conn, req)
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
	m.Stable()
	m.ID = ""
	expect(23, func(r *kmsg.JoinGroupRequest) { r.Protocols = raw.Protocols("roundrobin", "t") })
	expect(23, func(r *kmsg.JoinGroupRequest) { r.ProtocolType = "connect" })
	expect(25, func(r *kmsg.JoinGroupRequest) { r.MemberID = "stranger" })
}

// Two members: the first is told by its heartbeat; votes choose the protocol; only the leader sees the members; the
// follower's SyncGroup waits for the leader's.
func TestRebalance(t *testing.T) {
	b := startGroups(t)
	name := raw.TopicName(t)
	first, second := b.Member(t, name, ""), b.Member(t, name, "")
	first.Protocols = raw.Protocols("range", "sticky", "t")
	first.Stable()
	second.Protocols = raw.Protocols("sticky", "t")
	second.Joined(raw.Do[*kmsg.JoinGroupResponse](second.Conn, second.JoinRequest(9)))
	second.Send(second.JoinRequest(9))
	raw.Eventually(t, func() bool { return first.Heartbeat(4) == 27 })
	require.EqualValues(t, 27, first.Sync(5, nil).ErrorCode)
	leader := first.Join(9)
	r, _ := second.Receive(second.JoinRequest(9))
	follower := second.Joined(r.(*kmsg.JoinGroupResponse))
	require.Zero(t, leader.ErrorCode)
	require.Zero(t, follower.ErrorCode)
	require.EqualValues(t, 2, leader.Generation)
	require.EqualValues(t, 2, follower.Generation)
	require.Equal(t, "sticky", str(leader.Protocol))
	require.Equal(t, "sticky", str(follower.Protocol))
	require.Equal(t, first.ID, leader.LeaderID)
	require.Equal(t, first.ID, follower.LeaderID)
	require.Len(t, leader.Members, 2)
	require.Empty(t, follower.Members)

	first.Protocols = raw.Protocols("sticky", "t")
	second.Send(second.SyncRequest(5, nil))
	require.Zero(t, first.Sync(5, map[string]string{first.ID: "a", second.ID: "b"}).ErrorCode)
	sr, _ := second.Receive(second.SyncRequest(5, nil))
	require.Zero(t, sr.(*kmsg.SyncGroupResponse).ErrorCode)
	require.Equal(t, "b", string(sr.(*kmsg.SyncGroupResponse).MemberAssignment))
	require.Equal(t, "sticky", str(sr.(*kmsg.SyncGroupResponse).Protocol))

	// Errors of a stable group.
	second.Generation = 1
	require.EqualValues(t, 22, second.Heartbeat(4))
	require.EqualValues(t, 22, second.Sync(5, nil).ErrorCode)
	second.Generation = 2
	other := "roundrobin"
	req := second.SyncRequest(5, nil)
	req.Protocol = &other
	require.EqualValues(t, 23, raw.Do[*kmsg.SyncGroupResponse](second.Conn, req).ErrorCode)
	// A follower that joins again and changed nothing is told the same generation.
	require.EqualValues(t, 2, second.Join(9).Generation)
	require.Zero(t, second.Leave(5).ErrorCode)
	raw.Eventually(t, func() bool { return first.Heartbeat(4) == 27 })
	require.EqualValues(t, 3, first.Join(9).Generation)
}

func TestStaticMember(t *testing.T) {
	b := startGroups(t)
	name := raw.TopicName(t)
	first := b.Member(t, name, "i").Stable()
	require.Regexp(t, `^i-[0-9a-f]{8}-`, first.ID)

	again := b.Member(t, name, "i")
	r := again.Join(9)
	require.Zero(t, r.ErrorCode)
	require.EqualValues(t, 1, r.Generation, "no rebalance")
	require.NotEqual(t, first.ID, again.ID)
	require.Equal(t, again.ID, r.LeaderID)
	require.True(t, r.SkipAssignment)
	require.Len(t, r.Members, 1)
	require.Equal(t, "i", str(r.Members[0].InstanceID))
	require.Equal(t, "all", string(again.Sync(5, nil).MemberAssignment))

	require.EqualValues(t, 82, first.Heartbeat(4))
	require.EqualValues(t, 82, first.Sync(5, nil).ErrorCode)
	require.EqualValues(t, 82, first.Join(9).ErrorCode)
	require.EqualValues(t, 82, first.Leave(5).Members[0].ErrorCode)
	require.Zero(t, again.Heartbeat(4))

	old := b.Member(t, name, "i")
	r = old.Join(8)
	require.Zero(t, r.ErrorCode)
	require.Equal(t, again.ID, r.LeaderID, "a client before v9 must not take itself for the leader")
	require.Empty(t, r.Members)
	require.False(t, r.SkipAssignment)

	// An administrator removes it.
	l := raw.Do[*kmsg.LeaveGroupResponse](old.Conn, &kmsg.LeaveGroupRequest{Version: 5, Group: name, Members: []kmsg.LeaveGroupRequestMember{
		{InstanceID: &old.Instance}, {InstanceID: &old.Instance}, {MemberID: "stranger"}}})
	require.Zero(t, l.ErrorCode)
	require.Len(t, l.Members, 3)
	require.Zero(t, l.Members[0].ErrorCode)
	require.EqualValues(t, 25, l.Members[1].ErrorCode)
	require.EqualValues(t, 25, l.Members[2].ErrorCode)
	require.EqualValues(t, 25, old.Heartbeat(4))
}

// A static member that comes back with another subscription.
func TestStaticMemberWithOtherMetadata(t *testing.T) {
	b := startGroups(t)
	name := raw.TopicName(t)
	b.Member(t, name, "i").Stable()
	again := b.Member(t, name, "i")
	again.Protocols = raw.Protocols("range", "other")
	r := again.Join(9)
	require.Zero(t, r.ErrorCode)
	require.EqualValues(t, 1, r.Generation)
	require.True(t, r.SkipAssignment)
}

func TestUnknownGroup(t *testing.T) {
	b := startGroups(t)
	m := b.Member(t, raw.TopicName(t), "")
	m.ID, m.Generation = "stranger", 1
	for v := int16(0); v <= 4; v++ {
		require.EqualValues(t, 25, m.Heartbeat(v))
	}
	for v := int16(0); v <= 5; v++ {
		require.EqualValues(t, 25, m.Sync(v, nil).ErrorCode)
		l := m.Leave(v)
		if v < 3 {
			require.EqualValues(t, 25, l.ErrorCode, "v%d", v)
			continue
		}
		require.Zero(t, l.ErrorCode, "v%d", v)
		require.EqualValues(t, 25, l.Members[0].ErrorCode)
	}
	m.Group = ""
	require.EqualValues(t, 24, m.Heartbeat(4))
	require.EqualValues(t, 24, m.Sync(5, nil).ErrorCode)
	require.EqualValues(t, 24, m.Leave(5).ErrorCode)
	sync := m.SyncRequest(5, nil)
	sync.Protocol = nil
	require.EqualValues(t, 23, raw.Do[*kmsg.SyncGroupResponse](m.Conn, sync).ErrorCode)
}
