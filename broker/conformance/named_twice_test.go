package conformance_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// answers are "TOPIC-PARTITION: ANSWER" of an answer, in order.
type answers []string

func (a *answers) add(topic string, id [16]byte, partition int32, format string, args ...any) {
	if id != [16]byte{} {
		topic = fmt.Sprintf("%x", id)
	}
	*a = append(*a, fmt.Sprintf("%s-%d: %s", topic, partition, fmt.Sprintf(format, args...)))
}

func (a answers) sorted() []string { return slices.Sorted(slices.Values(a)) }

// Of a partition that is named twice the last batch is appended, and no other.
func TestProducePartitionTwice(t *testing.T) {
	c := start(t).Dial(t)
	for _, version := range []int16{3, 9, 13} {
		tp, other := raw.CreateTopic(c, 2), raw.CreateTopic(c, 1)
		of := func(tp raw.Topic, partition int32, key string) kmsg.ProduceRequestTopic {
			return raw.ProduceTo(tp, partition, version, raw.Seal(raw.NewBatch(raw.KV(key, "v")))).Topics[0]
		}
		damaged := of(tp, 0, "damaged")
		damaged.Partitions[0].Records[40] ^= 1
		inOne := of(tp, 0, "a")
		inOne.Partitions = append(inOne.Partitions, of(tp, 1, "b").Partitions[0], of(tp, 0, "c").Partitions[0])
		for i, test := range []struct {
			topics []kmsg.ProduceRequestTopic
			want   map[string]string // of an entry's place, the answer; all others are not answered
			stored string            // the key in partition 0
		}{
			{[]kmsg.ProduceRequestTopic{inOne}, map[string]string{"0": "0 0", "1": "0 0"}, "c"},
			{[]kmsg.ProduceRequestTopic{of(tp, 0, "d"), of(other, 0, "e"), of(tp, 0, "f")}, map[string]string{"0": "0 1", "other": "0 0"}, "f"},
			{[]kmsg.ProduceRequestTopic{damaged, of(tp, 0, "g")}, map[string]string{"0": "0 2"}, "g"},
			{[]kmsg.ProduceRequestTopic{of(tp, 0, "h"), damaged}, map[string]string{"0": "2 -1"}, ""},
			{[]kmsg.ProduceRequestTopic{of(tp, 7, "i"), of(tp, 7, "j")}, map[string]string{"7": "3 -1"}, ""},
		} {
			req := raw.ProduceTo(tp, 0, version, nil)
			req.Topics = test.topics
			var got, want answers
			for _, rt := range raw.Do[*kmsg.ProduceResponse](c, req).Topics {
				for _, p := range rt.Partitions {
					got.add(rt.Topic, rt.TopicID, p.Partition, "%d %d", p.ErrorCode, p.BaseOffset)
				}
			}
			for place, text := range test.want {
				named, partition := tp, int32(0)
				if place == "other" {
					named = other
				} else {
					partition = int32(place[0] - '0')
				}
				if version >= 13 {
					named.Name = ""
				} else {
					named.ID = [16]byte{}
				}
				want.add(named.Name, named.ID, partition, "%s", text)
			}
			require.Equal(t, want.sorted(), got.sorted(), "version %d, request %d", version, i)
			if test.stored != "" {
				stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
				require.Equal(t, raw.NewBatch(raw.KV(test.stored, "v")).Records, stored[len(stored)-1].Records)
			}
		}
		require.EqualValues(t, 3, raw.ListOffset(c, tp, 0, -1).Offset)
	}
}

func TestListOffsetsPartitionTwice(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	raw.MustProduce(c, tp, raw.KV("k", "v"))
	entry := func(partitions ...int32) kmsg.ListOffsetsRequestTopic {
		rt := kmsg.ListOffsetsRequestTopic{Topic: tp.Name}
		for _, index := range partitions {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = index, -1
			rt.Partitions = append(rt.Partitions, p)
		}
		return rt
	}
	for _, test := range []struct {
		topics []kmsg.ListOffsetsRequestTopic
		want   []string
	}{
		{[]kmsg.ListOffsetsRequestTopic{entry(0, 1, 0)}, []string{"0: 42 -1", "1: 0 0"}},
		{[]kmsg.ListOffsetsRequestTopic{entry(0), entry(1), entry(0), entry(0)}, []string{"0: 42 -1", "1: 0 0"}},
		{[]kmsg.ListOffsetsRequestTopic{entry(0), entry(1)}, []string{"0: 0 1", "1: 0 0"}},
		{[]kmsg.ListOffsetsRequestTopic{entry(7, 7)}, []string{"7: 42 -1"}},
	} {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.ReplicaID, req.Topics = 7, -1, test.topics
		var got answers
		for _, rt := range raw.Do[*kmsg.ListOffsetsResponse](c, req).Topics {
			for _, p := range rt.Partitions {
				got.add(rt.Topic, [16]byte{}, p.Partition, "%d %d", p.ErrorCode, p.Offset)
			}
		}
		require.Equal(t, prefixed(tp, test.want), got.sorted())
	}
}

func prefixed(tp raw.Topic, list []string) []string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = tp.Name + "-" + text
	}
	return out
}

// Both entries are answered, each as it was asked.
func TestOffsetForLeaderEpochPartitionTwice(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.Version, req.ReplicaID = 4, -1
	entry := func(current int32) kmsg.OffsetForLeaderEpochRequestTopicPartition {
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.CurrentLeaderEpoch = current
		return p
	}
	req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: tp.Name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{entry(1 << 20), entry(-1)}},
		{Topic: tp.Name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{entry(1 << 20)}}}
	var codes []int16
	for _, rt := range raw.Do[*kmsg.OffsetForLeaderEpochResponse](c, req).Topics {
		for _, p := range rt.Partitions {
			codes = append(codes, p.ErrorCode)
		}
	}
	require.Equal(t, []int16{75, 0, 75}, codes)
}

// The last offset counts, whether it is the higher one, the lower one, or none that there is.
func TestDeleteRecordsPartitionTwice(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	for range 5 {
		raw.MustProduce(c, tp, raw.KV("k", "v"))
	}
	entry := func(partition int32, offset int64) kmsg.DeleteRecordsRequestTopicPartition {
		return kmsg.DeleteRecordsRequestTopicPartition{Partition: partition, Offset: offset}
	}
	topics := func(each ...[]kmsg.DeleteRecordsRequestTopicPartition) (list []kmsg.DeleteRecordsRequestTopic) {
		for _, e := range each {
			list = append(list, kmsg.DeleteRecordsRequestTopic{Topic: tp.Name, Partitions: e})
		}
		return list
	}
	type entries = []kmsg.DeleteRecordsRequestTopicPartition
	for _, test := range []struct {
		topics []kmsg.DeleteRecordsRequestTopic
		want   []string
		start  int64
	}{
		{topics(entries{entry(0, 2), entry(1, 0), entry(0, 1)}), []string{"0: 0 1", "1: 0 0"}, 1},
		{topics(entries{entry(0, 4)}, entries{entry(0, 2)}), []string{"0: 0 2"}, 2},
		{topics(entries{entry(0, 3), entry(0, 99)}), []string{"0: 1 -1"}, 2},
		{topics(entries{entry(0, 99), entry(0, 3)}), []string{"0: 0 3"}, 3},
		{topics(entries{entry(7, 1), entry(7, 2)}), []string{"7: 3 -1"}, 3},
	} {
		req := kmsg.NewPtrDeleteRecordsRequest()
		req.Version, req.TimeoutMillis, req.Topics = 2, 10_000, test.topics
		var got answers
		for _, rt := range raw.Do[*kmsg.DeleteRecordsResponse](c, req).Topics {
			for _, p := range rt.Partitions {
				got.add(rt.Topic, [16]byte{}, p.Partition, "%d %d", p.ErrorCode, p.LowWatermark)
			}
		}
		require.Equal(t, prefixed(tp, test.want), got.sorted())
		require.Equal(t, test.start, raw.ListOffset(c, tp, 0, -2).Offset)
	}
}

// Every entry is answered, and the last one that can be committed holds; so it is in a transaction, and when offsets are read.
func TestOffsetsPartitionTwice(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	m := b.Simple(t, raw.TopicName(t))
	tooMuch := string(make([]byte, 5000))
	for _, test := range []struct {
		offsets []raw.Offset
		codes   []int16
		holds   int64
	}{
		{[]raw.Offset{raw.NewOffset(0, 5, -1, ""), raw.NewOffset(1, 1, -1, ""), raw.NewOffset(0, 4, -1, "")}, []int16{0, 0, 0}, 4},
		{[]raw.Offset{raw.NewOffset(0, 6, -1, ""), raw.NewOffset(0, 7, -1, tooMuch)}, []int16{0, 12}, 6},
		{[]raw.Offset{raw.NewOffset(0, 8, -1, tooMuch), raw.NewOffset(0, 9, -1, "")}, []int16{12, 0}, 9},
		{[]raw.Offset{raw.NewOffset(7, 8, -1, ""), raw.NewOffset(7, 9, -1, "")}, []int16{3, 3}, 9},
	} {
		require.Equal(t, test.codes, m.Commit(8, tp, test.offsets...))
		require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, test.holds, -1, "", 0), raw.FetchedOffset(0, test.holds, -1, "", 0)}, m.Fetch(8, tp, 0, 0))
	}

	p := b.transactor(t, raw.TopicName(t)).init()
	group := raw.TopicName(t)
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.Version, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = 5, p.txn, p.id, p.epoch, group
	entry := func(partition int32, at int64) kmsg.TxnOffsetCommitRequestTopicPartition {
		e := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		e.Partition, e.Offset = partition, at
		return e
	}
	req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: tp.Name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{entry(0, 5), entry(0, 4)}},
		{Topic: tp.Name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{entry(1, 8)}}, {Topic: tp.Name, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{entry(1, 7)}}}
	count := 0
	for _, rt := range raw.Do[*kmsg.TxnOffsetCommitResponse](p.Conn, req).Topics {
		for _, rp := range rt.Partitions {
			require.Zero(t, rp.ErrorCode)
			count++
		}
	}
	require.Equal(t, 4, count)
	p.end(true)
	m = b.Simple(t, group)
	raw.Eventually(t, func() bool { return m.Fetch(8, tp, 0)[0].Offset == 4 && m.Fetch(8, tp, 1)[0].Offset == 7 })
}

// What is added is answered entry by entry; what is refused, or only asked for, once.
func TestTxnAddPartitionTwice(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	p := b.transactor(t, raw.TopicName(t)).init()
	for _, test := range []struct {
		version    int16
		verifyOnly bool
		partitions []int32
		want       []string
	}{
		{3, false, []int32{0, 1, 0}, []string{"0: 0", "0: 0", "1: 0"}},
		{3, false, []int32{7, 0, 7, 0}, []string{"0: 55", "7: 3"}},
		{4, false, []int32{0, 0}, []string{"0: 0", "0: 0"}},
		{4, false, []int32{7, 7}, []string{"7: 3"}},
		{4, true, []int32{0, 1, 0}, []string{"0: 0", "1: 0"}},
		{4, true, []int32{7, 7}, []string{"7: 3"}},
	} {
		req := p.addRequest(test.version, tp, test.partitions...)
		if test.version >= 4 {
			req.Transactions[0].VerifyOnly = test.verifyOnly
		}
		resp := raw.Do[*kmsg.AddPartitionsToTxnResponse](p.Conn, req)
		var got answers
		for _, rt := range resp.Topics {
			for _, rp := range rt.Partitions {
				got.add(rt.Topic, [16]byte{}, rp.Partition, "%d", rp.ErrorCode)
			}
		}
		for _, rx := range resp.Transactions {
			for _, rt := range rx.Topics {
				for _, rp := range rt.Partitions {
					got.add(rt.Topic, [16]byte{}, rp.Partition, "%d", rp.ErrorCode)
				}
			}
		}
		require.Equal(t, prefixed(tp, test.want), got.sorted(), "version %d, %v", test.version, test.partitions)
	}
	p.end(false)
}
