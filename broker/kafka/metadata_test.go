package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
)

func metadata(c *conn, version int16, create bool, names ...string) *kmsg.MetadataResponse {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.AllowAutoTopicCreation = version, create
	req.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &name})
	}
	return do[*kmsg.MetadataResponse](c, req)
}

func TestMetadataAutoCreateDisabled(t *testing.T) {
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.NoAutoCreate = true }}).dial(t)
	require.Equal(t, int16(3), metadata(c, 8, true, topicName(t)).Topics[0].ErrorCode)
	require.Equal(t, int16(3), metadata(c, 1, true, topicName(t)).Topics[0].ErrorCode)
}
