package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/storage/log"
)

// What a request under fuzz names differs from run to run. Its body has these in their place, and fuzzed.real puts in what there is.
const (
	topicIDMark  = "id of the topic."
	tableIDMark  = "id of the table."
	producerMark = "producer"                                  // the id of transactionalID's producer,
	epochMark    = "ID"                                        // which its epoch follows
	sessionMark  = "SESS"                                      // the id of a fetch session
	crcMark      = "CRC!"                                      // of a record batch; nothing that was changed in one would else get past the checksum
	transaction  = "fuzzed-tx"                                 // the transactional id
	memberMark   = "fuzz-the-only-member-of-the-classic-group" // as long as the id that it gets
	modern       = "modern"                                    // a group that the broker balances
	groupMark    = "group of that member"                      // as long as the names of its groups
)

// fuzzed is the broker that FuzzRequest talks to. It has what brokers have: topics with records, one of them key-framed and with rows
// below its delta start offset, groups, transactions, quotas.
type fuzzed struct {
	h            *kafka.Handler
	b            *broker
	transactions *txn.Coordinator

	topic, table raw.Topic
	producer     []byte // as producerMark and epochMark
	member       string // as memberMark
	group        string // as groupMark
	session      []byte // as sessionMark
	furnished    int
}

func startFuzzed(t testing.TB) *fuzzed {
	var cfg kafka.Config
	f := &fuzzed{b: startOwn(t, options{keyed: true, kafka: func(own *kafka.Config) { cfg = *own }})}
	const plenty = 1 << 40 // it is counted, and nobody waits
	registry, store := f.b.registry, f.b.catalog
	var err error
	cfg.Quotas, err = quota.Open(quota.Config{Store: store, Settings: quota.Settings{ProducerByteRate: plenty, ConsumerByteRate: plenty, RequestPercentage: plenty,
		ControllerMutationRate: plenty}})
	require.NoError(t, err)
	settings := group.DefaultSettings()
	settings.InitialRebalanceDelay = 0
	cfg.Groups, err = group.Open(group.Config{Settings: settings, Store: store, Topics: kafka.GroupTopics(registry), GroupConfig: cfg.Configs.Group,
		TopicExists: func(name string) bool { _, ok := registry.Get(name); return ok }})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cfg.Groups.Close()) })
	registry.AddHooks(topics.Hooks{Deleted: func(gone *topics.Topic) { cfg.Groups.DropTopic(gone.Name) }})
	f.transactions, err = txn.Open(txn.Config{Settings: txn.DefaultSettings(), Store: store, Groups: cfg.Groups, Markers: f.markers(cfg.LeaderEpoch)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.transactions.Close()) })
	cfg.Transactions = f.transactions
	f.h = kafka.New(cfg)
	f.furnish(t)
	return f
}

func (f *fuzzed) markers(epoch int32) txn.Markers {
	return txn.Log{Store: f.b.store, Epoch: epoch, Find: func(name string, index int32) (*log.Partition, bool) {
		if t, ok := f.b.registry.Get(name); ok {
			if p := t.Partition(index); p != nil {
				return p.Log, true
			}
		}
		return nil, false
	}}
}

// furnish deletes what requests have made, and makes again what they name.
func (f *fuzzed) furnish(t testing.TB) {
	for _, x := range f.b.registry.List() {
		require.NoError(t, f.b.registry.Delete(context.Background(), x.Name))
	}
	c := f.b.Dial(t)
	defer c.Close()
	f.topic = raw.CreateNamed(c, "topic", 2)
	raw.MustProduce(c, f.topic, raw.KV("a", "1"), raw.KV("b", "2"), raw.KV("c", "3"))
	k := &keyed{Conn: c, b: f.b, configs: map[string]string{"cleanup.policy": "compact,delete", "keyframe.delta.retention.ms": "0"}}
	k.Topic = raw.CreateNamed(c, "table", 2, "cleanup.policy", "compact,delete", "keyframe.delta.retention.ms", "0")
	f.table = k.Topic
	k.put(0, raw.KV("a", "1"), raw.KV("b", "2"), raw.KV("a", "3"))
	k.trim()
	f.begin(t)
	f.join(t)
	fetch := raw.FetchFrom(f.topic, 0, 12)
	fetch.SessionEpoch = 0
	f.session = binary.BigEndian.AppendUint32(nil, uint32(ask(t, f, 12, fetch).(*kmsg.FetchResponse).SessionID))
}

// begin gives the transactional id's producer its next epoch, and begins a transaction.
func (f *fuzzed) begin(t testing.TB) {
	require.Eventually(t, func() bool { // the transaction before may have to end first
		reply, ok := f.transactions.Init(transaction, time.Minute, nil).Wait(context.Background())
		f.producer = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint64(nil, uint64(reply.Producer.ID)), uint16(reply.Producer.Epoch))
		if !ok || reply.Err != nil {
			return false
		}
		in, _ := f.b.registry.Get(f.topic.Name)
		f.transactions.Add(transaction, reply.Producer, []txn.Partition{{Topic: in.Name, Ordinal: in.Partition(0).Ordinal}})
		return true
	}, time.Minute, time.Millisecond)
}

// join makes groups of one member, who has its assignment.
func (f *fuzzed) join(t testing.TB) {
	f.furnished++
	f.group = fmt.Sprintf("group-%0*d", len(groupMark)-len("group-"), f.furnished) // who joined the one before is of no interest
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = f.group, "consumer", 60_000, 60_000
	join.Protocols = raw.Protocols("range", "topic")
	join.MemberID = ask(t, f, 9, join).(*kmsg.JoinGroupResponse).MemberID
	joined := ask(t, f, 9, join).(*kmsg.JoinGroupResponse)
	require.Zero(t, joined.ErrorCode)
	require.Len(t, joined.MemberID, len(memberMark))
	f.member = joined.MemberID
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = f.group, f.member, joined.Generation
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: f.member, MemberAssignment: []byte("all")}}
	require.Zero(t, ask(t, f, 3, sync).(*kmsg.SyncGroupResponse).ErrorCode)
	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.MemberID, commit.Generation = f.group, f.member, joined.Generation
	commit.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: f.topic.Name, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Offset: 1, LeaderEpoch: -1}}}}
	ask(t, f, 8, commit)
	beat := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	beat.Group, beat.MemberID, beat.MemberEpoch, beat.RebalanceTimeoutMillis = modern, "member", 0, 60_000
	beat.SubscribedTopicNames, beat.Topics = []string{f.topic.Name}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	ask(t, f, 1, beat)
}

// ask sends a request that is answered.
func ask(t testing.TB, f *fuzzed, version int16, req kmsg.Request) kmsg.Response {
	req.SetVersion(version)
	resp := fuzzOne(t, f.h, req.Key(), version, req.AppendTo(nil), time.Minute)
	require.NotNil(t, resp)
	return resp
}

// real puts into a body what there is, where its marks are, and the checksums of batches whose checksum is a mark.
func (f *fuzzed) real(body []byte) []byte {
	body = bytes.ReplaceAll(body, []byte(topicIDMark), f.topic.ID[:])
	body = bytes.ReplaceAll(body, []byte(tableIDMark), f.table.ID[:])
	body = bytes.ReplaceAll(body, []byte(producerMark+epochMark), f.producer)
	body = bytes.ReplaceAll(body, []byte(memberMark), []byte(f.member))
	body = bytes.ReplaceAll(body, []byte(groupMark), []byte(f.group))
	body = bytes.ReplaceAll(body, []byte(sessionMark), f.session)
	const sizeAt, crcAt, attributesAt = 8, 17, 21 // in a batch
	for at := 0; ; {
		next := bytes.Index(body[at:], []byte(crcMark))
		if next < 0 {
			return body
		}
		at += next
		start := at - crcAt
		if start < 0 {
			at++
			continue
		}
		end := int64(start) + sizeAt + 4 + int64(binary.BigEndian.Uint32(body[start+sizeAt:]))
		if end >= int64(start+attributesAt) && end <= int64(len(body)) {
			binary.BigEndian.PutUint32(body[at:], crc32.Checksum(body[start+attributesAt:end], crc32.MakeTable(crc32.Castagnoli)))
		}
		at += len(crcMark)
	}
}
