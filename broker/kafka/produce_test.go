package kafka_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
)

// TestProduceRefusedBytesDoNotStay: a batch is kept as a slice of its request, so what was refused of it takes memory too.
func TestProduceRefusedBytesDoNotStay(t *testing.T) {
	b := startOwn(t, options{})
	c := b.dial(t)
	tp := createTopic(c, 1)
	small := seal(newBatch(kv("a", "1")))
	req := produceTo(tp, 0, 9, small)
	refused := kmsg.NewProduceRequestTopic()
	refused.Topic = topicName(t)
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
		resp := do[*kmsg.ProduceResponse](c, req)
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
		require.Equal(t, int16(3), resp.Topics[1].Partitions[0].ErrorCode)
	}
	send()
	before := heap()
	const n, tailMax = 15, 64 << 20
	for range n {
		send()
	}
	require.Less(t, heap()-before, int64(tailMax+10<<20))
	require.LessOrEqual(t, b.store.Metrics().TailBytes, int64(tailMax))
	require.Len(t, batchesOf(c, fetchAt(c, tp, 0).RecordBatches), n+1, "none is lost")
	// What is small beside its request only because of the request's header is charged as itself.
	tail := b.store.Metrics().TailBytes
	produce(c, tp, seal(newBatch(kv("a", string(make([]byte, 1000))))))
	require.Less(t, b.store.Metrics().TailBytes-tail, int64(1200))
}

// TestProduceLogAppendTimeIsTheLogs: the log decides the order and so the time; the clock at which a batch was checked is not it.
func TestProduceLogAppendTimeIsTheLogs(t *testing.T) {
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) {
		cfg.Now = func() time.Time { return time.Now().Add(-time.Minute) }
	}}).dial(t)
	tp := createTopic(c, 1, "message.timestamp.type", "LogAppendTime")
	b := newBatch(kv("a", "1"))
	b.Attributes = 0x08
	for _, records := range [][]byte{seal(newBatch(kv("a", "1"))), seal(b)} {
		p := produce(c, tp, records)
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		stored := batchesOf(c, fetchAt(c, tp, p.BaseOffset).RecordBatches)
		require.Len(t, stored, 1)
		require.Equal(t, p.LogAppendTime, stored[0].MaxTimestamp)
	}
}

// Apache Kafka 4 takes the smaller of min.insync.replicas and the number of replicas, so that 2 of 1 is satisfied by 1. We do
// not acknowledge to somebody who asks for two copies that there are two.
func TestProduceMinInsyncReplicas(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	tp := createTopic(c, 1, "min.insync.replicas", "2")
	good := seal(newBatch(kv("a", "1")))
	require.Equal(t, int16(19), produce(c, tp, good).ErrorCode)
	req := produceTo(tp, 0, 9, good)
	req.Acks = 1
	require.Zero(t, produceAs(c, req).ErrorCode)
}

func TestProduceTransactionsAreRefused(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	tp := createTopic(c, 1)
	b := newBatch(kv("a", "1"))
	b.Attributes, b.ProducerID, b.ProducerEpoch, b.FirstSequence = 0x10, 999_999, 0, 0
	for version, code := range map[int16]int16{10: 48, 11: 120} {
		req := produceTo(tp, 0, version, seal(b))
		req.TransactionID = kmsg.StringPtr("tx")
		require.Equal(t, code, produceAs(c, req).ErrorCode, "v%d", version)
	}
}

// sequenced is a batch of an idempotent producer.
func sequenced(id int64, epoch int16, sequence int32, records ...testRecord) []byte {
	b := newBatch(records...)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = id, epoch, sequence
	return seal(b)
}

func newProducerID(c *conn) int64 {
	c.t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch = 4, -1, -1
	var resp *kmsg.InitProducerIDResponse
	require.Eventually(c.t, func() bool { // Kafka starts its coordinator when it is first asked
		resp = do[*kmsg.InitProducerIDResponse](c, req)
		return resp.ErrorCode == 0
	}, 20*time.Second, 10*time.Millisecond)
	return resp.ProducerID
}
