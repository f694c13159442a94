package raw

import (
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ProduceTo makes a request for one partition.
func ProduceTo(t Topic, partition int32, version int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 10_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.ProduceRequestTopicPartition{
		{Partition: partition, Records: records}}}}
	return req
}

// Produce sends one partition's records and returns its answer.
func Produce(c *Conn, t Topic, records []byte) kmsg.ProduceResponseTopicPartition {
	c.T.Helper()
	return ProduceAs(c, ProduceTo(t, 0, 9, records))
}

// ProduceAs sends a request for one partition and returns its answer.
func ProduceAs(c *Conn, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	c.T.Helper()
	resp := Do[*kmsg.ProduceResponse](c, req)
	require.Len(c.T, resp.Topics, 1)
	require.Len(c.T, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// MustProduce appends one batch and returns its base offset.
func MustProduce(c *Conn, t Topic, records ...Record) int64 {
	c.T.Helper()
	p := Produce(c, t, Seal(NewBatch(records...)))
	RequireCode(c.T, 0, p.ErrorCode, p.ErrorMessage)
	return p.BaseOffset
}

// NewProducerID is the id of a new idempotent producer, at epoch 0.
func NewProducerID(c *Conn) int64 {
	c.T.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch = 4, -1, -1
	var resp *kmsg.InitProducerIDResponse
	require.Eventually(c.T, func() bool { // Kafka starts its coordinator when it is first asked
		resp = Do[*kmsg.InitProducerIDResponse](c, req)
		return resp.ErrorCode == 0
	}, time.Minute, 10*time.Millisecond)
	return resp.ProducerID
}
