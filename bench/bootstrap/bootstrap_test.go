package bootstrap

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
)

// BenchmarkBootstrap brings up replicas of 1 M rows of 16 + 100 bytes, the broker on the same machine in a process of its own:
//
//	go test -run '^$' -bench Bootstrap -benchtime 5x ./bench/bootstrap
func BenchmarkBootstrap(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "keyframe")
	require.NoError(b, process.Build(b.Context(), binary))
	broker, err := process.Start(b.Context(), binary, filepath.Join(b.TempDir(), "data"), process.Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, broker.Stop()) }()
	for _, partitions := range []int32{1, 4} {
		cfg := Config{Kafka: broker.Kafka, State: broker.State, Topic: "bootstrap", Partitions: partitions, Keys: 1_000_000, ValueBytes: 100}
		cfg.Topic += map[int32]string{1: "-1", 4: "-4"}[partitions]
		require.NoError(b, Fill(b.Context(), cfg))
		name := map[int32]string{1: "partitions=1", 4: "partitions=4"}[partitions]
		b.Run(name+"/memory", func(b *testing.B) { measure(b, cfg, func() client.Store { return client.Memory() }) })
		b.Run(name+"/pebble", func(b *testing.B) {
			measure(b, cfg, func() client.Store { return client.Dir(filepath.Join(b.TempDir(), "replica")) })
		})
	}
}

func measure(b *testing.B, cfg Config, store func() client.Store) {
	var seconds float64
	for range b.N {
		took, err := Run(b.Context(), cfg, store())
		require.NoError(b, err)
		seconds += took.Seconds()
	}
	b.ReportMetric(float64(cfg.Keys)*float64(b.N)/seconds, "rows/s")
}
