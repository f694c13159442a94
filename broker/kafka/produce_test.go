package kafka_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
)

// TestProduceRefusedBytesDoNotStay: a batch is kept as a slice of its request, so what was refused of it takes memory too.
func TestProduceRefusedBytesDoNotStay(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	small := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	req := raw.ProduceTo(tp, 0, 9, small)
	refused := kmsg.NewProduceRequestTopic()
	refused.Topic = raw.TopicName(t)
	refused.Partitions = []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, 10<<20)}}
	req.Topics = append(req.Topics, refused)
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // what pools hold goes in the second
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	send := func() {
		resp := raw.Do[*kmsg.ProduceResponse](c, req)
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, int16(3), resp.Topics[1].Partitions[0].ErrorCode)
	}
	send()
	before := heap()
	const n, tailMax = 15, 64 << 20
	for range n {
		send()
	}
	// The server may still hold a request whose answer is here.
	require.Eventually(t, func() bool { return heap()-before < int64(tailMax+10<<20) }, time.Minute, time.Millisecond)
	require.LessOrEqual(t, b.store.Metrics().TailBytes, int64(tailMax))
	require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches), n+1, "none is lost")
	// What is small beside its request only because of the request's header is charged as itself.
	tail := b.store.Metrics().TailBytes
	raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 1000))))))
	require.Less(t, b.store.Metrics().TailBytes-tail, int64(1200))
}

// TestProduceLogAppendTimeIsTheLogs: the log decides the order and so the time; the clock at which a batch was checked is not it.
func TestProduceLogAppendTimeIsTheLogs(t *testing.T) {
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(-time.Minute) }
	}}).Dial(t)
	tp := raw.CreateTopic(c, 1, "message.timestamp.type", "LogAppendTime")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, p.BaseOffset).RecordBatches)
	require.Len(t, stored, 1)
	require.Equal(t, p.LogAppendTime, stored[0].MaxTimestamp)
}

// Apache Kafka 4 takes the smaller of min.insync.replicas and the number of replicas, so that 2 of 1 is satisfied by 1. We do
// not acknowledge to somebody who asks for two copies that there are two.
func TestProduceMinInsyncReplicas(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	tp := raw.CreateTopic(c, 1, "min.insync.replicas", "2")
	good := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	require.Equal(t, int16(19), raw.Produce(c, tp, good).ErrorCode)
	req := raw.ProduceTo(tp, 0, 9, good)
	req.Acks = 1
	require.Zero(t, raw.ProduceAs(c, req).ErrorCode)
}

func TestProduceTransactionsAreRefused(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	tp := raw.CreateTopic(c, 1)
	b := raw.NewBatch(raw.KV("a", "1"))
	b.Attributes, b.ProducerID, b.ProducerEpoch, b.FirstSequence = 0x10, 999_999, 0, 0
	for version, code := range map[int16]int16{10: 48, 11: 120} {
		req := raw.ProduceTo(tp, 0, version, raw.Seal(b))
		req.TransactionID = kmsg.StringPtr("tx")
		require.Equal(t, code, raw.ProduceAs(c, req).ErrorCode, "v%d", version)
	}
}
