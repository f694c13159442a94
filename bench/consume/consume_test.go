package consume_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/consume"
)

func TestEverythingIsRead(t *testing.T) {
	cfg := consume.DefaultConfig()
	cfg.Partitions, cfg.Bytes = 3, 5_000_000
	r, err := cfg.Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	require.Equal(t, "just written throughput", r.Figures[0].Name)
	for _, reading := range []string{"just written", "warm"} {
		records, _ := r.Figure(reading + " records")
		throughput, _ := r.Figure(reading + " throughput")
		require.InEpsilon(t, records.Value*1024/1e6, throughput.Value, 1e-9)
	}
	_, cold := r.Figure("cold throughput")
	require.False(t, cold, "nobody asked for it")
	cpu, ok := r.Figure("warm broker CPU")
	require.True(t, ok)
	require.Equal(t, "s/GB", cpu.Unit)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*consume.Config){
		func(c *consume.Config) { c.Name = "" }, func(c *consume.Config) { c.Partitions = 0 }, func(c *consume.Config) { c.Bytes = 100 },
		func(c *consume.Config) { c.ValueBytes = 0 }, func(c *consume.Config) { c.Configs = map[string]string{"max.message.bytes": "10"} },
	} {
		cfg := consume.DefaultConfig()
		cfg.Bytes = 100_000
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
