package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// startGroups gives a test a broker with groups, whose first rebalance does not wait.
func startGroups(t *testing.T) *broker {
	t.Helper()
	b, _ := startGroupsOwn(t, options{})
	return b
}

func startGroupsOwn(t *testing.T, o options) (*broker, *group.Coordinator) {
	t.Helper()
	var c *group.Coordinator
	more := o.kafka
	o.kafka = func(cfg *kafka.Config) {
		settings := group.DefaultSettings()
		settings.InitialRebalanceDelay = 0
		var err error
		c, err = group.Open(group.Config{Settings: settings, Store: cfg.Producers.(*catalog.Catalog),
			Topics: kafka.GroupTopics(cfg.Registry), TopicExists: func(name string) bool { _, ok := cfg.Registry.Get(name); return ok }})
		require.NoError(t, err)
		cfg.Registry.AddHooks(topics.Hooks{Deleted: func(topic *topics.Topic) { c.DropTopic(topic.Name) }})
		cfg.Groups = c
		if more != nil {
			more(cfg)
		}
	}
	b := startOwn(t, o)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return b, c
}

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

// offset is a partition's offset in a commit; its metadata "<null>" is null.
type offset struct {
	partition int32
	at        int64
	epoch     int32
	metadata  string
}

func (m *member) commitRequest(version int16, t topic, offsets ...offset) *kmsg.OffsetCommitRequest {
	rt := kmsg.OffsetCommitRequestTopic{Topic: t.name, TopicID: t.id}
	for _, o := range offsets {
		p := kmsg.OffsetCommitRequestTopicPartition{Partition: o.partition, Offset: o.at, LeaderEpoch: o.epoch, Metadata: &o.metadata}
		if o.metadata == "<null>" {
			p.Metadata = nil
		}
		rt.Partitions = append(rt.Partitions, p)
	}
	return &kmsg.OffsetCommitRequest{Version: version, Group: m.group, MemberID: m.id, InstanceID: m.instanceID(),
		Generation: m.generation, RetentionTimeMillis: -1, Topics: []kmsg.OffsetCommitRequestTopic{rt}}
}

// commit returns the codes of the partitions.
func (m *member) commit(version int16, t topic, offsets ...offset) (codes []int16) {
	m.t.Helper()
	r := do[*kmsg.OffsetCommitResponse](m.conn, m.commitRequest(version, t, offsets...))
	require.Len(m.t, r.Topics, 1)
	for _, p := range r.Topics[0].Partitions {
		codes = append(codes, p.ErrorCode)
	}
	return codes
}

// fetch returns the partitions' offsets in the group-wise form, whatever the version. No partitions: null topics.
func (m *member) fetch(version int16, t topic, partitions ...int32) []kmsg.OffsetFetchResponseGroupTopicPartition {
	m.t.Helper()
	req := &kmsg.OffsetFetchRequest{Version: version, Group: m.group, RequireStable: true}
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = m.group
	if partitions != nil {
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: t.name, Partitions: partitions}}
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.name, TopicID: t.id, Partitions: partitions}}
	}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	r := do[*kmsg.OffsetFetchResponse](m.conn, req)
	require.Zero(m.t, r.ErrorCode)
	var all []kmsg.OffsetFetchResponseGroupTopicPartition
	if version < 8 {
		for _, rt := range r.Topics {
			require.Equal(m.t, t.name, rt.Topic)
			for _, p := range rt.Partitions {
				all = append(all, kmsg.OffsetFetchResponseGroupTopicPartition(p))
			}
		}
		return all
	}
	require.Len(m.t, r.Groups, 1)
	require.Equal(m.t, m.group, r.Groups[0].Group)
	require.Zero(m.t, r.Groups[0].ErrorCode)
	for _, rt := range r.Groups[0].Topics {
		if version >= 10 {
			require.Equal(m.t, t.id, rt.TopicID)
		} else {
			require.Equal(m.t, t.name, rt.Topic)
		}
		all = append(all, rt.Partitions...)
	}
	return all
}

func fetched(partition int32, at int64, epoch int32, metadata string, code int16) kmsg.OffsetFetchResponseGroupTopicPartition {
	return kmsg.OffsetFetchResponseGroupTopicPartition{Partition: partition, Offset: at, LeaderEpoch: epoch, Metadata: &metadata, ErrorCode: code}
}

// simple is a client that commits without being a member.
func (b *broker) simple(t *testing.T, group string) *member {
	return &member{conn: b.dial(t), group: group, generation: -1}
}
