package latency_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/latency"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
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

func TestTheDiskAloneIsToldBeside(t *testing.T) {
	cfg := latency.DefaultConfig()
	cfg.Partitions, cfg.Rate, cfg.Warmup, cfg.Duration, cfg.Disk = 2, 2000, 0, 200*time.Millisecond, 400*time.Millisecond
	to := benchtest.Start(t)
	if to.Process == nil {
		to.Process = &probe.Process{PID: os.Getpid()} // the broker is in this process
	}
	dir, err := to.DataDir(t.Context())
	require.NoError(t, err)
	r, err := cfg.Run(t.Context(), to, bench.Silent)
	if errors.Is(err, probe.ErrUnsupported) {
		t.Skip("SKIPPED LOUDLY: the system does not tell when a file is on disk")
	}
	require.NoError(t, err)
	i := slices.IndexFunc(r.Latency, func(l result.Latency) bool { return l.Name == "the disk alone" })
	require.GreaterOrEqual(t, i, 0)
	require.EqualValues(t, 400, r.Latency[i].Count, "one each millisecond")
	require.Positive(t, r.Latency[i].P50)
	left, err := filepath.Glob(filepath.Join(dir, "bench-disk-*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*latency.Config){
		func(c *latency.Config) { c.Name = "" }, func(c *latency.Config) { c.Partitions = 0 }, func(c *latency.Config) { c.Rate = 0 },
		func(c *latency.Config) { c.Duration = 0 }, func(c *latency.Config) { c.Warmup = -1 }, func(c *latency.Config) { c.Disk = -1 }, func(c *latency.Config) { c.ValueBytes = 7 },
		func(c *latency.Config) { c.Acks = "0" }, func(c *latency.Config) { c.Configs = map[string]string{"max.message.bytes": "100"} },
	} {
		cfg := latency.DefaultConfig()
		cfg.Duration, cfg.Warmup, cfg.Rate = 100*time.Millisecond, 0, 100
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
