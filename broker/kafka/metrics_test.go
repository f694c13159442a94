package kafka_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
)

func TestErrorsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.Metrics = reg }}).Dial(t)
	tp := raw.CreateTopic(c, 1)
	bad := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	bad[len(bad)-1] ^= 1
	raw.Produce(c, tp, bad)
	raw.Produce(c, tp, bad)
	raw.FetchAt(c, tp, 99)
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP keyframe_kafka_errors_total Error codes in answers to Kafka requests, by API and code; one per partition or topic that failed.
# TYPE keyframe_kafka_errors_total counter
keyframe_kafka_errors_total{api="Fetch",error="OFFSET_OUT_OF_RANGE"} 1
keyframe_kafka_errors_total{api="Produce",error="CORRUPT_MESSAGE"} 2
`), "keyframe_kafka_errors_total"))
}
