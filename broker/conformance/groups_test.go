package conformance_test

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func str(s *string) string {
	if s == nil {
		return "<null>"
	}
	return *s
}

// memberRef names a member that is removed, by id or by instance.
type memberRef struct{ id, instance string }

// removeMembers sends a LeaveGroup for members and returns their codes.
func removeMembers(m *raw.Member, refs ...memberRef) (codes []int16) {
	m.T.Helper()
	req := &kmsg.LeaveGroupRequest{Version: 5, Group: m.Group}
	for _, ref := range refs {
		lm := kmsg.LeaveGroupRequestMember{MemberID: ref.id}
		if ref.instance != "" {
			lm.InstanceID = &ref.instance
		}
		req.Members = append(req.Members, lm)
	}
	r := raw.Do[*kmsg.LeaveGroupResponse](m.Conn, req)
	require.Zero(m.T, r.ErrorCode)
	for _, lm := range r.Members {
		codes = append(codes, lm.ErrorCode)
	}
	return codes
}
