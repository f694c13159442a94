package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/raw"
)

// startBroker starts a broker in a temporary directory, with groups that do not wait for more members and heartbeat quickly.
func startBroker(t testing.TB, change ...func(*broker.Config)) raw.Broker {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = t.TempDir()+"/data", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Groups.InitialRebalanceDelay = 0
	cfg.Groups.ConsumerHeartbeatInterval = 100 * time.Millisecond
	for _, f := range change {
		f(&cfg)
	}
	b, err := broker.Start(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return raw.Broker{Addr: b.KafkaAddr().String()}
}
