// Package benchtest is a broker for the tests of workloads: one of ours, in this process.
package benchtest

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/broker"
)

// Start starts a broker that ends with the test, as a target.
func Start(t *testing.T) *target.Target {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := broker.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	to, err := target.Open(t.Context(), target.Config{Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String()})
	require.NoError(t, err)
	t.Cleanup(to.Close)
	return to
}
