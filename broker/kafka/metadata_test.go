package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
)

func TestMetadataAutoCreateDisabled(t *testing.T) {
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.NoAutoCreate = true }}).Dial(t)
	require.Equal(t, int16(3), raw.Metadata(c, 8, true, raw.TopicName(t)).Topics[0].ErrorCode)
	require.Equal(t, int16(3), raw.Metadata(c, 1, true, raw.TopicName(t)).Topics[0].ErrorCode)
}
