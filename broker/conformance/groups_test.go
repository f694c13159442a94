package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// member is one consumer on a connection of its own, as its requests tell.
type member struct {
	*conn
	group, id, instance string
	generation          int32
	protocols           []kmsg.JoinGroupRequestProtocol
}

func (b *broker) member(t *testing.T, group, instance string) *member {
	return &member{conn: b.dial(t), group: group, instance: instance, protocols: protocols("range", "t")}
}

// protocols of a consumer: names and, for all, the topic.
func protocols(nameAndTopic ...string) (all []kmsg.JoinGroupRequestProtocol) {
	topic := nameAndTopic[len(nameAndTopic)-1]
	for _, name := range nameAndTopic[:len(nameAndTopic)-1] {
		meta := kmsg.ConsumerMemberMetadata{Topics: []string{topic}}
		all = append(all, kmsg.JoinGroupRequestProtocol{Name: name, Metadata: meta.AppendTo(nil)})
	}
	return all
}

func (m *member) instanceID() *string {
	if m.instance == "" {
		return nil
	}
	return &m.instance
}

func (m *member) joinRequest(version int16) *kmsg.JoinGroupRequest {
	return &kmsg.JoinGroupRequest{Version: version, Group: m.group, MemberID: m.id, InstanceID: m.instanceID(),
		SessionTimeoutMillis: 10_000, RebalanceTimeoutMillis: 60_000, ProtocolType: "consumer", Protocols: m.protocols}
}

// joined takes over what the answer to a JoinGroup says.
func (m *member) joined(r *kmsg.JoinGroupResponse) *kmsg.JoinGroupResponse {
	if r.ErrorCode == 0 || r.ErrorCode == 79 {
		m.id, m.generation = r.MemberID, r.Generation
	}
	return r
}

// join joins, after a first round trip for a member id where that is needed.
func (m *member) join(version int16) *kmsg.JoinGroupResponse {
	m.t.Helper()
	r := m.joined(do[*kmsg.JoinGroupResponse](m.conn, m.joinRequest(version)))
	if r.ErrorCode == 79 {
		r = m.joined(do[*kmsg.JoinGroupResponse](m.conn, m.joinRequest(version)))
	}
	return r
}

func (m *member) syncRequest(version int16, assign map[string]string) *kmsg.SyncGroupRequest {
	req := &kmsg.SyncGroupRequest{Version: version, Group: m.group, MemberID: m.id, InstanceID: m.instanceID(), Generation: m.generation}
	consumer, proto := "consumer", m.protocols[0].Name
	if version >= 5 {
		req.ProtocolType, req.Protocol = &consumer, &proto
	}
	for id, a := range assign {
		req.GroupAssignment = append(req.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: []byte(a)})
	}
	return req
}

func (m *member) sync(version int16, assign map[string]string) *kmsg.SyncGroupResponse {
	m.t.Helper()
	return do[*kmsg.SyncGroupResponse](m.conn, m.syncRequest(version, assign))
}

func (m *member) heartbeat(version int16) int16 {
	m.t.Helper()
	return do[*kmsg.HeartbeatResponse](m.conn, &kmsg.HeartbeatRequest{Version: version, Group: m.group, MemberID: m.id,
		InstanceID: m.instanceID(), Generation: m.generation}).ErrorCode
}

func (m *member) leave(version int16) *kmsg.LeaveGroupResponse {
	m.t.Helper()
	return do[*kmsg.LeaveGroupResponse](m.conn, &kmsg.LeaveGroupRequest{Version: version, Group: m.group, MemberID: m.id,
		Members: []kmsg.LeaveGroupRequestMember{{MemberID: m.id, InstanceID: m.instanceID()}}})
}

// stable makes the member the only one of a stable group.
func (m *member) stable() *member {
	m.t.Helper()
	require.Zero(m.t, m.join(9).ErrorCode)
	s := m.sync(5, map[string]string{m.id: "all"})
	require.Zero(m.t, s.ErrorCode)
	require.Equal(m.t, "all", string(s.MemberAssignment))
	return m
}

// eventually repeats a request until its answer is as it should be.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 20*time.Second, 5*time.Millisecond)
}

func str(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

// memberRef names a member that is removed, by id or by instance.
type memberRef struct{ id, instance string }

// removeMembers sends a LeaveGroup for members and returns their codes.
func removeMembers(m *member, refs ...memberRef) (codes []int16) {
	m.t.Helper()
	req := &kmsg.LeaveGroupRequest{Version: 5, Group: m.group}
	for _, ref := range refs {
		lm := kmsg.LeaveGroupRequestMember{MemberID: ref.id}
		if ref.instance != "" {
			lm.InstanceID = &ref.instance
		}
		req.Members = append(req.Members, lm)
	}
	r := do[*kmsg.LeaveGroupResponse](m.conn, req)
	require.Zero(m.t, r.ErrorCode)
	for _, lm := range r.Members {
		codes = append(codes, lm.ErrorCode)
	}
	return codes
}
