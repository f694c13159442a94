package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// shortestSession is group.min.session.timeout.ms.
const shortestSession = 6 * time.Second

// A member that is not heard of for its session timeout is gone; one that is stays.
func TestSessionTimeoutEvicts(t *testing.T) {
	t.Parallel() // it waits for seconds
	b := startGroups(t)
	c := b.Dial(t)
	m := b.Member(t, raw.TopicName(t), "")
	req := m.JoinRequest(3)
	req.SessionTimeoutMillis = int32(shortestSession.Milliseconds())
	began := time.Now()
	require.Zero(t, m.Joined(raw.Do[*kmsg.JoinGroupResponse](m.Conn, req)).ErrorCode)
	require.Zero(t, m.Sync(3, map[string]string{m.ID: "all"}).ErrorCode)
	require.Zero(t, m.Heartbeat(3))
	lively := b.Member(t, raw.TopicName(t), "").Stable()
	require.Eventually(t, func() bool {
		require.Zero(t, lively.Heartbeat(4))
		return raw.DescribeGroup(c, 5, m.Group, false).State == "Empty"
	}, time.Minute, 20*time.Millisecond)
	require.Greater(t, time.Since(began), shortestSession-time.Second, "not before its time")
	require.EqualValues(t, 25, m.Heartbeat(3))
}

// JoinGroup v0 has no rebalance timeout: the session timeout is it. Whoever has not joined again by then is out, and the others go on.
func TestJoinGroupV0RebalanceTimeout(t *testing.T) {
	t.Parallel() // it waits for seconds
	b := startGroups(t)
	gone := b.Member(t, raw.TopicName(t), "")
	join := func(m *raw.Member) *kmsg.JoinGroupRequest {
		req := m.JoinRequest(0)
		req.SessionTimeoutMillis = int32(shortestSession.Milliseconds())
		return req
	}
	require.Zero(t, gone.Joined(raw.Do[*kmsg.JoinGroupResponse](gone.Conn, join(gone))).ErrorCode)
	require.Zero(t, gone.Sync(0, map[string]string{gone.ID: "all"}).ErrorCode)
	second := b.Member(t, gone.Group, "")
	began := time.Now()
	req := join(second)
	second.Send(req)
	raw.Eventually(t, func() bool { return gone.Heartbeat(0) == 27 }) // the broker has it
	done := make(chan *kmsg.JoinGroupResponse, 1)
	go func() {
		defer close(done)
		if resp, _, err := second.TryReceive(req); err == nil {
			done <- resp.(*kmsg.JoinGroupResponse)
		}
	}()
	// The first says that it is alive, and does not join.
	var r *kmsg.JoinGroupResponse
	for waiting := true; waiting; {
		select {
		case r = <-done:
			waiting = false
		case <-time.After(100 * time.Millisecond):
			require.Contains(t, []int16{27, 25}, gone.Heartbeat(0))
		}
	}
	require.NotNil(t, r)
	require.Zero(t, r.ErrorCode)
	require.Equal(t, r.MemberID, r.LeaderID, "it is alone")
	require.Len(t, r.Members, 1)
	require.Greater(t, time.Since(began), shortestSession-time.Second)
	require.Less(t, time.Since(began), time.Minute)
	require.EqualValues(t, 25, gone.Heartbeat(0))
}
