package raw

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Member is one consumer on a connection of its own, as its requests tell.
type Member struct {
	*Conn
	Group, ID, Instance string
	Generation          int32
	Protocols           []kmsg.JoinGroupRequestProtocol
}

// Member is one that has not joined yet, of the topic "t" by range; instance is empty for a dynamic one.
func (b Broker) Member(t testing.TB, group, instance string) *Member {
	return &Member{Conn: b.Dial(t), Group: group, Instance: instance, Protocols: Protocols("range", "t")}
}

// Protocols of a consumer: names and, for all, the topic.
func Protocols(nameAndTopic ...string) (all []kmsg.JoinGroupRequestProtocol) {
	topic := nameAndTopic[len(nameAndTopic)-1]
	for _, name := range nameAndTopic[:len(nameAndTopic)-1] {
		meta := kmsg.ConsumerMemberMetadata{Topics: []string{topic}}
		all = append(all, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: meta.AppendTo(nil)})
	}
	return all
}

func (m *Member) instanceID() *string {
	if m.Instance == "" {
		return nil
	}
	return &m.Instance
}

// JoinRequest is the member's next JoinGroup.
func (m *Member) JoinRequest(version int16) *kmsg.JoinGroupRequest {
	return &kmsg.JoinGroupRequest{Version: version, Group: m.Group, MemberID: m.ID, InstanceID: m.instanceID(),
		SessionTimeoutMillis: 10_000, RebalanceTimeoutMillis: 60_000, ProtocolType: "consumer", Protocols: m.Protocols}
}

// Joined takes over what the answer to a JoinGroup says.
func (m *Member) Joined(r *kmsg.JoinGroupResponse) *kmsg.JoinGroupResponse {
	if r.ErrorCode == 0 || r.ErrorCode == 79 {
		m.ID, m.Generation = r.MemberID, r.Generation
	}
	return r
}

// Join joins, after a first round trip for a member id where that is needed.
func (m *Member) Join(version int16) *kmsg.JoinGroupResponse {
	m.T.Helper()
	r := m.Joined(Do[*kmsg.JoinGroupResponse](m.Conn, m.JoinRequest(version)))
	if r.ErrorCode == 79 {
		r = m.Joined(Do[*kmsg.JoinGroupResponse](m.Conn, m.JoinRequest(version)))
	}
	return r
}

// SyncRequest is the member's SyncGroup; a leader brings the assignments by member id.
func (m *Member) SyncRequest(version int16, assign map[string]string) *kmsg.SyncGroupRequest {
	req := &kmsg.SyncGroupRequest{Version: version, Group: m.Group, MemberID: m.ID, InstanceID: m.instanceID(), Generation: m.Generation}
	consumer, proto := "consumer", m.Protocols[0].Name
	if version >= 5 {
		req.ProtocolType, req.Protocol = &consumer, &proto
	}
	for id, a := range assign {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(a)})
	}
	return req
}

// Sync sends SyncRequest.
func (m *Member) Sync(version int16, assign map[string]string) *kmsg.SyncGroupResponse {
	m.T.Helper()
	return Do[*kmsg.SyncGroupResponse](m.Conn, m.SyncRequest(version, assign))
}

// Heartbeat returns the error code.
func (m *Member) Heartbeat(version int16) int16 {
	m.T.Helper()
	return Do[*kmsg.HeartbeatResponse](m.Conn, &kmsg.HeartbeatRequest{Version: version, Group: m.Group, MemberID: m.ID,
		InstanceID: m.instanceID(), Generation: m.Generation}).ErrorCode
}

// Leave says goodbye.
func (m *Member) Leave(version int16) *kmsg.LeaveGroupResponse {
	m.T.Helper()
	return Do[*kmsg.LeaveGroupResponse](m.Conn, &kmsg.LeaveGroupRequest{Version: version, Group: m.Group, MemberID: m.ID,
		Members: []kmsg.LeaveGroupRequestMember{{MemberID: m.ID, InstanceID: m.instanceID()}}})
}

// Stable makes the member the only one of a stable group.
func (m *Member) Stable() *Member {
	m.T.Helper()
	require.Zero(m.T, m.Join(9).ErrorCode)
	s := m.Sync(5, map[string]string{m.ID: "all"})
	require.Zero(m.T, s.ErrorCode)
	require.Equal(m.T, "all", string(s.MemberAssignment))
	return m
}

// Simple is a client that commits without being a member.
func (b Broker) Simple(t testing.TB, group string) *Member {
	return &Member{Conn: b.Dial(t), Group: group, Generation: -1}
}

// DescribeGroup describes one classic group.
func DescribeGroup(c *Conn, version int16, name string, operations bool) kmsg.DescribeGroupsResponseGroup {
	c.T.Helper()
	r := Do[*kmsg.DescribeGroupsResponse](c, &kmsg.DescribeGroupsRequest{Version: version, Groups: []string{name}, IncludeAuthorizedOperations: operations})
	require.Len(c.T, r.Groups, 1)
	require.Equal(c.T, name, r.Groups[0].Group)
	return r.Groups[0]
}
