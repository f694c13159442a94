package kafka_test

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/txn"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// countingStore counts the partitions that are named in what is saved.
type countingStore struct {
	*catalog.Catalog
	named atomic.Int64
}

func (s *countingStore) PutTransaction(t *catalog.Transaction) (*catalog.Write, error) {
	s.named.Add(int64(len(t.Partitions)))
	return s.Catalog.PutTransaction(t)
}

// noMarkers ends no transaction.
type noMarkers struct{}

func (noMarkers) WriteMarkers(*txn.End, func(*pebble.Batch) error) error { return nil }

// A request to many partitions brings them into its transaction with one write: what is saved does not grow with the square.
func TestProduceJoinsATransactionAtOnce(t *testing.T) {
	store := &countingStore{}
	b := startOwn(t, options{kafka: func(cfg *kafka.Config) {
		var err error
		store.Catalog = cfg.Producers.(*catalog.Catalog)
		cfg.Transactions, err = txn.Open(txn.Config{Settings: txn.DefaultSettings(), Store: store, Markers: noMarkers{}})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, cfg.Transactions.Close()) })
	}})
	const n = 500
	c := b.Dial(t)
	tp := raw.CreateTopic(c, n)
	id := "tx"
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.Version, begin.TransactionalID, begin.TransactionTimeoutMillis, begin.ProducerID, begin.ProducerEpoch = 4, &id, 60_000, -1, -1
	producer := raw.Do[*kmsg.InitProducerIDResponse](c, begin)
	require.Zero(t, producer.ErrorCode)
	rb := raw.NewBatch(raw.KV("a", "1"))
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence, rb.Attributes = producer.ProducerID, producer.ProducerEpoch, 0, rb.Attributes|1<<4
	req := raw.ProduceTo(tp, 0, 12, raw.Seal(rb))
	req.TransactionID = &id
	for index := int32(1); index < n; index++ {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, kmsg.ProduceRequestTopicPartition{Partition: index, Records: raw.Seal(rb)})
	}
	resp := raw.Do[*kmsg.ProduceResponse](c, req)
	for _, p := range resp.Topics[0].Partitions {
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	require.Equal(t, int64(n), store.named.Load())
}
