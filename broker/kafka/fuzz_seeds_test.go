package kafka_test

import (
	"encoding/binary"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/proto/guard"
)

// seedsPerVersion is how many requests of each version of each API the fuzzer begins with.
const seedsPerVersion = 24

// eachSeed makes requests of each version that is served, that name what a fuzzed broker has.
func eachSeed(t testing.TB, visit func(key, version int16, body []byte)) {
	for key := range int16(128) {
		low, high, ok := guard.Supported(key)
		for version := low; ok && version <= high; version++ {
			for n := range seedsPerVersion {
				req := kmsg.RequestForKey(key)
				require.NotNil(t, req, "API %d", key)
				s := seeder{rand.New(rand.NewPCG(uint64(key)<<16|uint64(version), uint64(n))), t}
				s.fill("", reflect.ValueOf(req).Elem())
				req.SetVersion(version)
				visit(key, version, req.AppendTo(nil))
			}
		}
	}
}

type seeder struct {
	*rand.Rand
	t testing.TB
}

// fill sets every field to something small, that is there or may be there; times are short, so that what waits does not wait long.
func (s seeder) fill(name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
				s.fill(f.Name, v.Field(i))
			}
		}
	case reflect.Pointer:
		if s.IntN(4) > 0 && (name != "InstanceID" || s.IntN(4) == 0) {
			v.Set(reflect.New(v.Type().Elem()))
			s.fill(name, v.Elem())
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(s.bytes(name))
			return
		}
		n := s.IntN(4) - 1
		if n < 0 {
			return // null, where that is possible
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			s.fill(name, v.Index(i))
		}
	case reflect.Array:
		reflect.Copy(v, reflect.ValueOf([]byte(oneOf(s, topicIDMark, tableIDMark))))
	case reflect.String:
		v.SetString(s.text(name))
	case reflect.Bool:
		v.SetBool(s.IntN(2) == 0)
	case reflect.Float64:
		v.SetFloat(float64(1 + s.IntN(100)))
	default:
		v.SetInt(s.number(name))
	}
}

func oneOf[T any](s seeder, all ...T) T { return all[s.IntN(len(all))] }

func (s seeder) text(name string) string {
	switch name {
	case "Topic", "Topics", "TopicNames", "SubscribedTopicNames":
		return oneOf(s, "topic", "table", "topic", "table", "new")
	case "TransactionalID", "TransactionalIDs", "TransactionID":
		return transaction
	case "Group", "Groups", "GroupID":
		return oneOf(s, groupMark, groupMark, groupMark, modern, "new")
	case "MemberID":
		return oneOf(s, memberMark, memberMark, memberMark, "", "member")
	case "InstanceID":
		return "instance"
	case "ProtocolType":
		return "consumer"
	case "Protocol", "ProtocolName":
		return "range"
	case "ServerAssignor":
		return oneOf(s, "uniform", "range")
	case "SubscribedTopicRegex":
		return oneOf(s, "t.*", "topic|table", "")
	case "ClientSoftwareName", "ClientSoftwareVersion":
		return oneOf(s, "client", "1.0")
	case "EntityType", "Type":
		return oneOf(s, "user", "client-id", "ip")
	case "Key", "Name":
		return oneOf(s, "retention.ms", "cleanup.policy", "producer_byte_rate", "range", "range", "range")
	case "Value":
		return oneOf(s, "100000", "delete", "compact")
	}
	return oneOf(s, "topic", "group", "range", "consumer", "1", "user")
}

func (s seeder) number(name string) int64 {
	switch name {
	case "ProducerID":
		return int64(binary.BigEndian.Uint64([]byte(producerMark)))
	case "ProducerEpoch":
		return int64(binary.BigEndian.Uint16([]byte(epochMark)))
	case "CurrentLeaderEpoch", "ReplicaID", "LastFetchedEpoch":
		return -1
	case "Partition", "Partitions", "PartitionIndex":
		return int64(s.IntN(2))
	case "MaxBytes", "PartitionMaxBytes":
		return 1 << 20
	case "Acks":
		return -1
	case "Generation":
		return oneOf[int64](s, -1, 1, 1)
	case "SessionEpoch", "MemberEpoch":
		return oneOf[int64](s, -1, 0, 1, 1)
	case "SessionID":
		return int64(oneOf(s, 0, binary.BigEndian.Uint32([]byte(sessionMark))))
	case "SessionTimeoutMillis":
		return 6000
	case "TransactionTimeoutMillis", "TimeoutMillis":
		return 1000
	case "RebalanceTimeoutMillis":
		return 10
	case "Timestamp":
		return int64(s.IntN(9)) - 6
	case "ResourceType":
		return oneOf[int64](s, 2, 4, 8, 16, 32)
	case "NumPartitions", "ReplicationFactor", "Count":
		return oneOf[int64](s, -1, 1, 3)
	}
	return int64(s.IntN(4))
}

func (s seeder) bytes(name string) []byte {
	switch name {
	case "Records":
		return s.batch()
	case "Metadata":
		meta := kmsg.ConsumerMemberMetadata{Topics: []string{"topic"}}
		return meta.AppendTo(nil)
	}
	b := make([]byte, s.IntN(8))
	for i := range b {
		b[i] = byte(s.IntN(128))
	}
	return b
}

// batch is a record batch: plain, compressed, of the producer with or without its transaction, or with a delta that a fold reads.
func (s seeder) batch() []byte {
	b := raw.NewBatch(raw.KV("a", "1"), raw.Record{Key: []byte("b"), Headers: []kmsg.Header{{Key: "keyframe.op", Value: []byte(oneOf(s, "put", "merge", "add"))}}})
	b.FirstTimestamp, b.MaxTimestamp = 0, 0 // seeds do not change
	if s.IntN(2) == 0 {
		b = raw.NewBatch(raw.KV("a", "1"))
		b.FirstTimestamp, b.MaxTimestamp = 0, 0
	}
	if s.IntN(3) == 0 {
		b.ProducerID, b.ProducerEpoch, b.FirstSequence = s.number("ProducerID"), int16(s.number("ProducerEpoch")), 0
		b.Attributes |= oneOf[int16](s, 0, 1<<4)
	}
	if s.IntN(4) == 0 {
		b = raw.Compressed(s.t, b, 1+s.IntN(4))
	}
	sealed := raw.Seal(b)
	copy(sealed[17:], crcMark)
	return sealed
}
