package conformance_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// partition is a partition of a topic by id.
type partition struct {
	topic [16]byte
	index int32
}

// owners are who has which partition of a group, by what the members themselves believe. A partition with two is a failed test.
type owners map[partition]string

// consumer is a member of a group that the broker balances (KIP-848), on a connection of its own. It gives up at once what it is not
// assigned any more, and says so with its next heartbeat.
type consumer struct {
	*raw.Conn
	owners              owners
	group, id, instance string
	epoch               int32
	names               []string
	pattern, assignor   *string
	rebalance           int32
	owned               []partition
	interval            int32
}

func (b *broker) consumer(t testing.TB, o owners, group, id string, names ...string) *consumer {
	if names == nil {
		names = []string{}
	}
	return &consumer{Conn: b.Dial(t), owners: o, group: group, id: id, names: names, rebalance: 30_000}
}

// request is a heartbeat that says everything.
func (m *consumer) request(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := m.short(epoch)
	r.RebalanceTimeoutMillis, r.SubscribedTopicNames, r.SubscribedTopicRegex, r.ServerAssignor = m.rebalance, m.names, m.pattern, m.assignor
	r.Topics = m.topics()
	return r
}

// short is a heartbeat that says that nothing has changed.
func (m *consumer) short(epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, m.group, m.id, epoch
	if m.instance != "" {
		r.InstanceID = &m.instance
	}
	return r
}

func (m *consumer) topics() []kmsg.ConsumerGroupHeartbeatRequestTopic {
	topics := []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for _, p := range m.owned {
		topics = append(topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: p.topic, Partitions: []int32{p.index}})
	}
	return topics
}

func (m *consumer) ask(r *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	m.T.Helper()
	return raw.Do[*kmsg.ConsumerGroupHeartbeatResponse](m.Conn, r)
}

// join begins anew: without an epoch and without partitions.
func (m *consumer) join() *kmsg.ConsumerGroupHeartbeatResponse {
	m.T.Helper()
	m.drop()
	return m.take(m.ask(m.request(0)))
}

// beat tells what it has, and takes what it gets.
func (m *consumer) beat() *kmsg.ConsumerGroupHeartbeatResponse {
	m.T.Helper()
	r := m.short(m.epoch)
	r.Topics = m.topics()
	return m.take(m.ask(r))
}

func (m *consumer) leave() {
	m.T.Helper()
	m.drop()
	require.Zero(m.T, m.ask(m.short(-1)).ErrorCode)
}

// take takes over a successful answer.
func (m *consumer) take(r *kmsg.ConsumerGroupHeartbeatResponse) *kmsg.ConsumerGroupHeartbeatResponse {
	m.T.Helper()
	raw.RequireCode(m.T, 0, r.ErrorCode, r.ErrorMessage)
	require.Equal(m.T, m.id, *r.MemberID)
	require.GreaterOrEqual(m.T, r.MemberEpoch, m.epoch)
	m.epoch, m.interval = r.MemberEpoch, r.HeartbeatIntervalMillis
	if r.Assignment != nil {
		m.assign(assigned(r))
	}
	return r
}

func (m *consumer) assign(now []partition) {
	m.T.Helper()
	for _, p := range m.owned {
		if !slices.Contains(now, p) {
			delete(m.owners, p)
		}
	}
	for _, p := range now {
		if !slices.Contains(m.owned, p) {
			require.NotContains(m.T, m.owners, p, "%s gets what another has", m.id)
			m.owners[p] = m.id
		}
	}
	m.owned = now
}

func (m *consumer) drop() { m.assign(nil) }

func assigned(r *kmsg.ConsumerGroupHeartbeatResponse) (all []partition) {
	for _, t := range r.Assignment.Topics {
		for _, n := range t.Partitions {
			all = append(all, partition{t.TopicID, n})
		}
	}
	return all
}

// of are the partitions of one topic that the member has.
func (m *consumer) of(t raw.Topic) (list []int32) {
	for _, p := range m.owned {
		if p.topic == t.ID {
			list = append(list, p.index)
		}
	}
	slices.Sort(list)
	return list
}

// until lets members send heartbeats until it is as it should be.
func until(t *testing.T, ok func() bool, members ...*consumer) {
	t.Helper()
	raw.Eventually(t, func() bool {
		for _, m := range members {
			m.beat()
		}
		return ok()
	})
}

// pair is a group of two that share a topic of four partitions, at one epoch; before is the epoch at which the first had all of them.
func (b *broker) pair(t *testing.T, tp raw.Topic, group string) (one, two *consumer, before int32) {
	t.Helper()
	o := owners{}
	one, two = b.consumer(t, o, group, "one", tp.Name), b.consumer(t, o, group, "two", tp.Name)
	one.join()
	until(t, func() bool { return len(one.of(tp)) == 4 }, one)
	before = one.epoch
	two.join()
	until(t, func() bool { return len(one.of(tp)) == 2 && len(two.of(tp)) == 2 && one.epoch == two.epoch }, one, two)
	return one, two, before
}

func describeConsumers(c *raw.Conn, version int16, groups ...string) []kmsg.ConsumerGroupDescribeResponseGroup {
	c.T.Helper()
	r := kmsg.NewPtrConsumerGroupDescribeRequest()
	r.Version, r.Groups = version, groups
	got := raw.Do[*kmsg.ConsumerGroupDescribeResponse](c, r).Groups
	require.Len(c.T, got, len(groups))
	return got
}

func typeOf(c *raw.Conn, group string) string {
	c.T.Helper()
	for _, g := range raw.Do[*kmsg.ListGroupsResponse](c, &kmsg.ListGroupsRequest{Version: 5}).Groups {
		if g.Group == group {
			return g.GroupType
		}
	}
	return ""
}
