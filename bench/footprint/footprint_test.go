package footprint_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
)

func TestMain(m *testing.M) { os.Exit(benchtest.Main(m)) }

func small(t *testing.T) footprint.Config {
	cfg := footprint.DefaultConfig()
	cfg.Start, cfg.Dir = benchtest.Command(), t.TempDir()
	cfg.Starts, cfg.Idle, cfg.Bytes, cfg.Partitions = 2, 10*time.Millisecond, 4<<20, 2
	return cfg
}

// Everything that was acknowledged is there after each start, takes no less than its bytes, and nothing is left of it in the end.
func TestWhatABrokerTakes(t *testing.T) {
	cfg := small(t)
	r, err := cfg.Run(t.Context(), footprint.Target("ours"), bench.Silent)
	require.NoError(t, err)
	require.Equal(t, "start", r.Figures[0].Name)
	for _, name := range []string{"start", "slowest start", "idle RSS", "loaded RSS", "peak RSS", "disk per byte", "start with data", "start after kill -9"} {
		f, ok := r.Figure(name)
		require.True(t, ok, name)
		require.Positive(t, f.Value, name)
	}
	disk, _ := r.Figure("disk per byte")
	require.Greater(t, disk.Value, 1.0)
	require.Equal(t, "ours", r.Target.Name)
	require.Equal(t, "fsync before the acknowledgement", r.Target.Durability)
	left, err := os.ReadDir(cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestAnotherBroker(t *testing.T) {
	cfg := small(t)
	other := launch.Parse("other {dir} {port}")
	require.Equal(t, other, cfg.StartedBy(other).(footprint.Config).Start)
	require.NotEqual(t, other, cfg.Start)
}

func TestRefused(t *testing.T) {
	for _, change := range []func(*footprint.Config){
		func(c *footprint.Config) { c.Name = "" }, func(c *footprint.Config) { c.Starts = 0 }, func(c *footprint.Config) { c.Idle = -1 },
		func(c *footprint.Config) { c.Bytes = 10 }, func(c *footprint.Config) { c.Acks = "0" }, func(c *footprint.Config) { c.Start = nil },
		func(c *footprint.Config) { c.Start = launch.Parse("false {dir} {port}") }, func(c *footprint.Config) { c.ValueBytes = 0 },
	} {
		cfg := small(t)
		change(&cfg)
		_, err := cfg.Run(t.Context(), footprint.Target(""), bench.Silent)
		require.Error(t, err, "%+v", cfg)
		left, err := os.ReadDir(cfg.Dir)
		require.NoError(t, err)
		require.Empty(t, left)
	}
}
