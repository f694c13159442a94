//go:build unix

package broker_test

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/raw"
)

const (
	heartbeatGroups    = 1000
	classicInterval    = 3 * time.Second // heartbeat.interval.ms of the Java client
	newInterval        = 5 * time.Second // group.consumer.heartbeat.interval.ms
	heartbeatShare     = 0.10            // of one core
	rebalanceMembers   = 100
	rebalanceParts     = 1000
	rebalanceLimit     = time.Second
	rebalanceRoundsMax = 4
)

// cpu is what this process has used: broker and clients.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// 1,000 groups with one member each, each on a connection of its own: their heartbeats take at most a tenth of a core, at the intervals
// that clients keep. What is measured is the processor time of broker and clients together.
func TestFigureHeartbeats(t *testing.T) {
	b := startBroker(t)
	raw.CreateNamed(b.Dial(t), "t", 1)
	for _, kind := range []struct {
		name     string
		interval time.Duration
		join     func(c *raw.Conn, group string) kmsg.Request // and what to send then
	}{
		{"classic", classicInterval, joinClassic},
		{"new", newInterval, joinNew},
	} {
		t.Run(kind.name, func(t *testing.T) {
			conns, beats := make([]*raw.Conn, heartbeatGroups), make([]kmsg.Request, heartbeatGroups)
			for i := range conns {
				conns[i] = b.Dial(t)
				beats[i] = kind.join(conns[i], fmt.Sprintf("%s-%d", kind.name, i))
			}
			const rounds = 10
			before := cpu(t)
			for range rounds {
				for i, c := range conns {
					c.Send(beats[i])
				}
				for i, c := range conns {
					resp, _ := c.Receive(beats[i])
					require.Zero(t, errorCode(resp))
				}
			}
			each := (cpu(t) - before) / (rounds * heartbeatGroups)
			share := float64(each) * heartbeatGroups / float64(kind.interval)
			t.Logf("%d groups: %v a heartbeat, %.2f %% of a core at one in %v", heartbeatGroups, each, 100*share, kind.interval)
			require.LessOrEqual(t, share, heartbeatShare)
		})
	}
}

func errorCode(r kmsg.Response) int16 {
	switch r := r.(type) {
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.ConsumerGroupHeartbeatResponse:
		return r.ErrorCode
	}
	return -1
}

func joinRequest(group, id string, topic string) *kmsg.JoinGroupRequest {
	meta := kmsg.ConsumerMemberMetadata{Topics: []string{topic}}
	return &kmsg.JoinGroupRequest{Version: 3, Group: group, MemberID: id, SessionTimeoutMillis: 60_000, RebalanceTimeoutMillis: 60_000,
		ProtocolType: "consumer", Protocols: []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: meta.AppendTo(nil)}}}
}

func joinClassic(c *raw.Conn, group string) kmsg.Request {
	j := raw.Do[*kmsg.JoinGroupResponse](c, joinRequest(group, "", "t"))
	require.Zero(c.T, j.ErrorCode)
	s := raw.Do[*kmsg.SyncGroupResponse](c, &kmsg.SyncGroupRequest{Version: 3, Group: group, MemberID: j.MemberID, Generation: j.Generation,
		GroupAssignment: []kmsg.SyncGroupRequestGroupAssignment{{MemberID: j.MemberID, MemberAssignment: []byte("all")}}})
	require.Zero(c.T, s.ErrorCode)
	return &kmsg.HeartbeatRequest{Version: 4, Group: group, MemberID: j.MemberID, Generation: j.Generation}
}

func joinNew(c *raw.Conn, group string) kmsg.Request {
	m := &newMember{Conn: c, group: group, id: "m"}
	m.beat("t")
	require.Len(c.T, m.owned, 1)
	return m.request()
}

// newMember is a member of the new protocol, which gives up at once what it must.
type newMember struct {
	*raw.Conn
	group, id string
	epoch     int32
	owned     []kmsg.ConsumerGroupHeartbeatRequestTopic
}

func (m *newMember) request() *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, m.group, m.id, m.epoch
	return r
}

// beat sends a heartbeat; with topics it joins.
func (m *newMember) beat(topics ...string) {
	r := m.request()
	r.Topics = m.owned
	if topics != nil {
		r.Topics, r.SubscribedTopicNames, r.RebalanceTimeoutMillis = []kmsg.ConsumerGroupHeartbeatRequestTopic{}, topics, 60_000
	}
	got := raw.Do[*kmsg.ConsumerGroupHeartbeatResponse](m.Conn, r)
	require.Zero(m.T, got.ErrorCode)
	m.epoch = got.MemberEpoch
	if got.Assignment != nil {
		m.owned = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, t := range got.Assignment.Topics {
			m.owned = append(m.owned, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: t.TopicID, Partitions: t.Partitions})
		}
	}
}

// fastest does something until it takes no longer than it may, once: whatever else keeps the machine busy does not count against it.
func fastest(t *testing.T, limit time.Duration, do func() time.Duration) {
	t.Helper()
	for began := time.Now(); ; {
		took := do()
		if took <= limit {
			return
		}
		require.Less(t, time.Since(began), time.Minute, "it takes %v, and never less than %v", took, limit)
	}
}

// A rebalance of 100 classic members over 1,000 partitions: from the leader's JoinGroup on, with members that send a heartbeat at once and
// so learn of it, until all have their share.
func TestFigureClassicRebalance(t *testing.T) {
	b := startBroker(t, func(cfg *broker.Config) { cfg.Groups.InitialRebalanceDelay = time.Second })
	raw.CreateNamed(b.Dial(t), "t", rebalanceParts)
	members := make([]*classicMember, rebalanceMembers)
	for i := range members {
		members[i] = &classicMember{Conn: b.Dial(t)}
	}
	var entered atomic.Int32
	all(func(i int) { // within the delay of the first rebalance, most of them
		members[i].enter()
		for entered.Add(1); entered.Load() < rebalanceMembers; {
			if members[i].heartbeat() != 0 { // somebody came later
				members[i].enter()
			}
		}
	})
	fastest(t, rebalanceLimit, func() time.Duration {
		generation := members[0].generation
		leader := 0
		for i, m := range members {
			require.Equal(t, generation, m.generation)
			if m.leads {
				leader = i
			}
		}
		began := time.Now()
		all(func(i int) {
			for m := members[i]; i != leader && m.heartbeat() == 0; {
				runtime.Gosched()
			}
			members[i].enter()
		})
		took := time.Since(began)
		for _, m := range members {
			require.Equal(t, generation+1, m.generation)
		}
		t.Logf("%d members over %d partitions: %v", rebalanceMembers, rebalanceParts, took)
		return took
	})
}

type classicMember struct {
	*raw.Conn
	id         string
	generation int32
	leads      bool
}

func (m *classicMember) heartbeat() int16 {
	return raw.Do[*kmsg.HeartbeatResponse](m.Conn, &kmsg.HeartbeatRequest{Version: 4, Group: "g", MemberID: m.id, Generation: m.generation}).ErrorCode
}

// enter joins and syncs; the leader assigns. It begins anew where somebody comes in between.
func (m *classicMember) enter() {
	for m.tryEnter() == kerr.RebalanceInProgress.Code {
	}
}

func (m *classicMember) tryEnter() int16 {
	j := raw.Do[*kmsg.JoinGroupResponse](m.Conn, joinRequest("g", m.id, "t"))
	require.Zero(m.T, j.ErrorCode)
	m.id, m.generation, m.leads = j.MemberID, j.Generation, j.MemberID == j.LeaderID
	sync := &kmsg.SyncGroupRequest{Version: 3, Group: "g", MemberID: m.id, Generation: m.generation}
	for n, o := range j.Members {
		sync.GroupAssignment = append(sync.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: o.MemberID, MemberAssignment: share(n)})
	}
	s := raw.Do[*kmsg.SyncGroupResponse](m.Conn, sync)
	if s.ErrorCode != kerr.RebalanceInProgress.Code {
		require.Zero(m.T, s.ErrorCode)
		require.NotEmpty(m.T, s.MemberAssignment)
	}
	return s.ErrorCode
}

// share is the n-th member's part of the partitions.
func share(n int) []byte {
	a := kmsg.ConsumerMemberAssignmentTopic{Topic: "t"}
	for p := n; p < rebalanceParts; p += rebalanceMembers {
		a.Partitions = append(a.Partitions, int32(p))
	}
	return (&kmsg.ConsumerMemberAssignment{Topics: []kmsg.ConsumerMemberAssignmentTopic{a}}).AppendTo(nil)
}

// all does something for every member at the same time.
func all(do func(i int)) {
	var wg sync.WaitGroup
	for i := range rebalanceMembers {
		wg.Go(func() { do(i) })
	}
	wg.Wait()
}

// The same in the new protocol, with every member's heartbeats one after the other and no pause between: what remains is the broker's
// part, and the number of heartbeats, which a real group sends at its interval.
func TestFigureNewRebalance(t *testing.T) {
	b := startBroker(t)
	raw.CreateNamed(b.Dial(t), "t", rebalanceParts)
	members := make([]*newMember, rebalanceMembers)
	for i := range members {
		members[i] = &newMember{Conn: b.Dial(t)}
	}
	groups := 0
	fastest(t, rebalanceLimit, func() time.Duration {
		groups++
		return newRebalances(t, members, fmt.Sprintf("g%d", groups))
	})
}

// newRebalances are those of a group to which all come at once, one of which leaves and comes again: how long the slowest took.
func newRebalances(t *testing.T, members []*newMember, group string) (slowest time.Duration) {
	settled := func() bool {
		d := kmsg.NewPtrConsumerGroupDescribeRequest()
		d.Version, d.Groups = 1, []string{group}
		return raw.Do[*kmsg.ConsumerGroupDescribeResponse](members[0].Conn, d).Groups[0].State == "Stable"
	}
	report := func(what string, members []*newMember) {
		t.Helper()
		rounds, owned, began := 0, 0, time.Now()
		for ; !settled(); rounds++ {
			var wg sync.WaitGroup
			for _, m := range members {
				wg.Go(func() { m.beat() })
			}
			wg.Wait()
		}
		took := time.Since(began)
		for _, m := range members {
			for _, o := range m.owned {
				owned += len(o.Partitions)
			}
		}
		require.Equal(t, rebalanceParts, owned)
		t.Logf("%d members over %d partitions: %s, %d heartbeats each and %v", len(members), rebalanceParts, what, rounds, took)
		require.LessOrEqual(t, rounds, rebalanceRoundsMax)
		slowest = max(slowest, took)
	}
	for i, m := range members {
		m.group, m.id, m.epoch, m.owned = group, fmt.Sprintf("m%d", i), 0, nil
	}
	all(func(i int) { members[i].beat("t") })
	report("all came at once", members)
	gone := members[0]
	leave := gone.request()
	leave.MemberEpoch = -1
	require.Zero(t, raw.Do[*kmsg.ConsumerGroupHeartbeatResponse](gone.Conn, leave).ErrorCode)
	report("one left", members[1:])
	gone.epoch, gone.owned = 0, nil
	gone.beat("t")
	report("one came", members)
	return slowest
}
