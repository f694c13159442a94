package drift_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/drift"
	"github.com/keyframelog/keyframe/bench/drill"
	"github.com/keyframelog/keyframe/bench/target"
)

func small(t *testing.T) drift.Config {
	cfg := drift.DefaultConfig()
	cfg.Keys, cfg.Deltas, cfg.Differing, cfg.Dir = 2000, 50, []int{1, 100}, t.TempDir()
	return cfg
}

// A repair costs what differs: more of it costs more, and both cost less than a whole frame. Each run leaves nothing, so that another may follow.
func TestARepairCostsWhatDiffers(t *testing.T) {
	to, cfg := benchtest.Start(t), small(t)
	for range 2 {
		r, err := cfg.Run(t.Context(), to, bench.Silent)
		require.NoError(t, err)
		require.Equal(t, "whole frame to repair", r.Figures[0].Name)
		require.Equal(t, "fsync before the acknowledgement", r.Target.Durability)
		value := func(name string) float64 {
			f, ok := r.Figure(name)
			require.True(t, ok, name)
			require.Positive(t, f.Value, name)
			return f.Value
		}
		require.Greater(t, value("repair, 100 differing"), value("repair, 1 differing"))
		require.Greater(t, value("repair, 100 differing"), 100*0.1, "a row has 116 bytes, or 20 of a counter")
		require.Greater(t, value("whole frame to repair, 1 differing"), value("whole frame to repair, 100 differing"))
		require.Greater(t, value("whole frame to repair, 100 differing"), 1.0)
		value("detected, 1 differing")
		value("repaired, 1 differing")
		value("round trips, 1 differing")
		plots := map[string]int{}
		for _, s := range r.Series {
			require.Equal(t, []float64{1, 100}, s.X)
			plots[s.Plot]++
		}
		require.Equal(t, map[string]int{"detected against differing keys": 3, "repaired against differing keys": 3, "repair against differing keys": 4}, plots)
	}
	topics, err := to.Admin().ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, topics.Names())
	left, err := os.ReadDir(cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestWithoutAStatePlane(t *testing.T) {
	to := benchtest.Start(t)
	plain, err := target.Open(t.Context(), target.Config{Brokers: to.Brokers})
	require.NoError(t, err)
	defer plain.Close()
	_, err = small(t).Run(t.Context(), plain, bench.Silent)
	require.ErrorContains(t, err, "has no state plane")
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*drift.Config){
		func(c *drift.Config) { c.Prefix = "" }, func(c *drift.Config) { c.Keys = 1 }, func(c *drift.Config) { c.ValueBytes = 0 }, func(c *drift.Config) { c.Replicas = 1 },
		func(c *drift.Config) { c.Deltas = 0 }, func(c *drift.Config) { c.Faults = nil }, func(c *drift.Config) { c.Faults = []drill.Fault{drill.Flipped} },
		func(c *drift.Config) { c.Differing = nil }, func(c *drift.Config) { c.Differing = []int{2, 1} }, func(c *drift.Config) { c.Differing = []int{0} },
		func(c *drift.Config) { c.Differing = []int{1001} },
	} {
		cfg := small(t)
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
