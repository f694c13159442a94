package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestInitProducerIDTransactionsAreRefused(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	req.Version, req.ProducerID, req.ProducerEpoch, req.TransactionalID, req.TransactionTimeoutMillis = 4, -1, -1, kmsg.StringPtr("tx"), 1000
	require.Equal(t, int16(53), raw.Do[*kmsg.InitProducerIDResponse](c, req).ErrorCode)
}
