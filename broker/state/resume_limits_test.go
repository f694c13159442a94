package state_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/broker/state"
	api "github.com/keyframelog/keyframe/proto/state"
)

// refused is a Resume that is answered with an error and holds nothing.
func (n *node) refused(name string, m *api.ResumeRequest, code connect.Code, why api.Reason) *api.ErrorDetail {
	n.t.Helper()
	before := len(n.leases.Leases())
	_, err := n.resume(m)
	gotCode, gotWhy, detail := reason(n.t, err)
	require.Equal(n.t, why, gotWhy, name)
	require.Equal(n.t, code, gotCode, name)
	require.Equal(n.t, topicName, detail.Topic, name)
	require.Len(n.t, n.leases.Leases(), before, name)
	return detail
}

// Where the log start has passed all frames and the next one is not cut yet, there is nothing to begin with: who asks is told to come back, and is
// answered when it is there.
func TestResumeWhileTheLogStartIsAheadOfAllFrames(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.WaitTimeout = 20 * time.Millisecond })
	at := changed(n, 10)
	n.cut()
	for i := range 10 {
		n.logs[0].Append(memlog.Put(fmt.Sprint("later", i), "x"))
	}
	topic, ok := n.k.Topic(topicName)
	require.True(t, ok)
	require.NoError(t, topic.Partitions()[0].WaitApplied(t.Context(), 20), "or a frame is cut between, at the log start")
	n.slow.Lock()
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 15))
	for name, m := range map[string]*api.ResumeRequest{
		"no state":                  {LeaderEpoch: -1},
		"below the log start":       held(at, 5),
		"to be repaired":            withRepair(held(at, 5), 5),
		"another log":               {LeaderEpoch: -1, Incarnation: make([]byte, 16), Points: held(at, 5).Points},
		"wants a cut that is going": withRepair(held(at, 5), 12),
	} {
		detail := n.refused(name, m, connect.CodeUnavailable, api.Reason_REASON_BEHIND)
		require.EqualValues(t, 0, *detail.Partition, name)
	}
	n.slow.Unlock()
	n.eventually(topic, func(f *api.Frame) bool { return f.Start == 15 })
	got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1})
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_FRAME, got.Answer)
	require.Equal(t, []int64{20, 15}, []int64{got.Frame.Cut, got.Frame.Start})
}

// No more leases are out than may be. Who needs none is answered; a place comes free when a lease is released, or expires.
func TestResumeWhereAllLeasesAreOut(t *testing.T) {
	n := newLimitedNode(t, 1, func(c *lease.Config) { c.LeasesMax = 2 }, nil)
	at := changed(n, 100)
	n.cut()
	first := func(replica string) *api.ResumeRequest { return &api.ResumeRequest{LeaderEpoch: -1, Replica: replica} }
	a, err := n.resume(first("a"))
	require.NoError(t, err)
	n.clock.ms.Add(10_000)
	_, err = n.resume(first("b"))
	require.NoError(t, err)
	full := func() {
		t.Helper()
		n.refused("one too many", first("c"), connect.CodeResourceExhausted, api.Reason_REASON_TOO_MANY_LEASES)
	}
	full()
	again, err := n.resume(first("a"))
	require.NoError(t, err, "in the place of its own")
	require.NotEqual(t, a.Lease.Id, again.Lease.Id)
	follows := held(at, 40)
	follows.Replica = "c"
	got, err := n.resume(follows)
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_CONTINUE, got.Answer)
	full()
	n.clock.ms.Add(20_000)
	require.NoError(t, n.renew(again.Lease.Id, 100, true))
	_, err = n.resume(first("c"))
	require.NoError(t, err)
	n.refused("one too many", first("d"), connect.CodeResourceExhausted, api.Reason_REASON_TOO_MANY_LEASES)
	n.clock.ms.Add(10_000)
	_, err = n.resume(first("d"))
	require.NoError(t, err, "b's has expired, and c's has not")
	require.Len(t, n.leases.Leases(), 2)
}

// What leases of a topic hold up together is bounded, and what all of them do where the disk is full. Who has lost one is told why, asks again and is
// answered.
func TestLeasesThatHoldTooMuchTogether(t *testing.T) {
	var full atomic.Bool
	n := newLimitedNode(t, 2, func(c *lease.Config) { c.TopicBytesMax, c.Full = leaseBytesMax/2, full.Load }, nil)
	grow := func(records int) {
		for range records {
			for _, l := range n.logs {
				l.Append(memlog.Put("large", strings.Repeat("x", leaseBytesMax/10)))
			}
			n.cut()
		}
	}
	grow(3)
	grant := func(replica string, partition int32) []byte {
		t.Helper()
		got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: replica, Partition: partition})
		require.NoError(t, err)
		return got.Lease.Id
	}
	revoked := func(id []byte) {
		t.Helper()
		code, why, _ := reason(t, n.renew(id, -1, false))
		require.Equal(t, api.Reason_REASON_LEASE_REVOKED, why)
		require.Equal(t, connect.CodeFailedPrecondition, code)
	}
	a := grant("a", 0)
	grow(3)
	b := grant("b", 1)
	grow(3) // a holds 6/10 of what one may, b 3/10: together they may hold 5/10
	n.trimTo(4, calm())
	revoked(a)
	require.NoError(t, n.renew(b, -1, false))

	full.Store(true)
	grow(1)
	n.trimTo(9, calm())
	revoked(b)
	grant("a", 0)
	grant("b", 1)
}
