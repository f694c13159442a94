package latency_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/latency"
)

func TestEveryRecordIsTimed(t *testing.T) {
	cfg := latency.DefaultConfig()
	cfg.Partitions, cfg.Rate, cfg.Warmup, cfg.Duration, cfg.ValueBytes = 2, 2000, 500*time.Millisecond, time.Second, 64
	r, err := cfg.Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	require.Len(t, r.Latency, 2)
	for _, l := range r.Latency {
		require.EqualValues(t, 2000, l.Count, "%s: the warm-up does not count, everything else does", l.Name)
		require.Positive(t, l.P50)
		require.LessOrEqual(t, l.P50, l.P99)
		require.LessOrEqual(t, l.P99, l.Max)
	}
	require.Equal(t, "end to end p50", r.Figures[0].Name)
	rate, _ := r.Figure("rate")
	require.LessOrEqual(t, rate.Value, 2001.0)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*latency.Config){
		func(c *latency.Config) { c.Name = "" }, func(c *latency.Config) { c.Partitions = 0 }, func(c *latency.Config) { c.Rate = 0 },
		func(c *latency.Config) { c.Duration = 0 }, func(c *latency.Config) { c.Warmup = -1 }, func(c *latency.Config) { c.ValueBytes = 7 },
		func(c *latency.Config) { c.Acks = "0" }, func(c *latency.Config) { c.Configs = map[string]string{"max.message.bytes": "100"} },
	} {
		cfg := latency.DefaultConfig()
		cfg.Duration, cfg.Warmup, cfg.Rate = 100*time.Millisecond, 0, 100
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
