package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// startBounded is a broker with quotas of its own configuration.
func startBounded(t *testing.T, settings quota.Settings) *broker {
	return startOwn(t, options{kafka: func(cfg *kafka.Config) {
		var err error
		cfg.Quotas, err = quota.Open(quota.Config{Store: cfg.Producers.(*catalog.Catalog), Settings: settings})
		require.NoError(t, err)
	}})
}

// TestConnectionIsThrottledByItsBytes, received and fetched, whatever its client may take; and no other one of the client is.
func TestConnectionIsThrottledByItsBytes(t *testing.T) {
	b := startBounded(t, quota.Settings{ConnectionByteRate: 10_000})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	// Too much for ten seconds, and for what may have gone of an eleventh since the connection's first request.
	resp := raw.Do[*kmsg.ProduceResponse](c, raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 111_000)))))))
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	require.Positive(t, resp.ThrottleMillis)

	other := b.Dial(t)
	started := time.Now()
	fetched := raw.Do[*kmsg.FetchResponse](other, raw.FetchFrom(tp, 0, 12))
	require.NotEmpty(t, fetched.Topics[0].Partitions[0].RecordBatches, "what was read is given")
	require.Positive(t, fetched.ThrottleMillis)
	raw.Do[*kmsg.ApiVersionsResponse](other, kmsg.NewPtrApiVersionsRequest())
	require.GreaterOrEqual(t, time.Since(started), time.Duration(fetched.ThrottleMillis)*time.Millisecond)
}

func TestConnectionIsThrottledByItsRequests(t *testing.T) {
	c := startBounded(t, quota.Settings{ConnectionRequestRate: 1}).Dial(t) // as long as a request takes less than a second
	throttle := int32(0)
	for range 100 {
		if throttle = raw.Do[*kmsg.ApiVersionsResponse](c, &kmsg.ApiVersionsRequest{Version: 2}).ThrottleMillis; throttle > 0 {
			break
		}
	}
	require.Positive(t, throttle)
}

// TestDefaultQuotas are those of the configuration, for each client id; what is set through the protocol comes before.
func TestDefaultQuotas(t *testing.T) {
	c := startBounded(t, quota.Settings{ProducerByteRate: 10_000}).Dial(t)
	tp := raw.CreateTopic(c, 1)
	name := "test" // the client id of these tests
	resp := raw.Do[*kmsg.AlterClientQuotasResponse](c, &kmsg.AlterClientQuotasRequest{Version: 1, Entries: []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &name}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1e9}}}}})
	require.Zero(t, resp.Entries[0].ErrorCode)
	big := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 101_000))))))
	require.Zero(t, raw.Do[*kmsg.ProduceResponse](c, big).ThrottleMillis)
	resp = raw.Do[*kmsg.AlterClientQuotasResponse](c, &kmsg.AlterClientQuotasRequest{Version: 1, Entries: []kmsg.AlterClientQuotasRequestEntry{{
		Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "client-id", Name: &name}},
		Ops:    []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Remove: true}}}}})
	require.Zero(t, resp.Entries[0].ErrorCode)
	require.Positive(t, raw.Do[*kmsg.ProduceResponse](c, big).ThrottleMillis)
}
