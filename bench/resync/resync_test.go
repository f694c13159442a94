package resync_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/resync"
)

func small() resync.Config {
	cfg := resync.DefaultConfig()
	cfg.Keys, cfg.ValueBytes, cfg.Partitions, cfg.Updates, cfg.Changed = 1000, 20, 2, 5000, 50
	return cfg
}

// Who goes on reading gets every update; both hold in the end what was written.
func TestBothWaysAreCurrentAgain(t *testing.T) {
	to := benchtest.Start(t)
	for _, via := range []bootstrap.Via{bootstrap.ViaBest, bootstrap.ViaKafka} {
		cfg := small()
		cfg.Via = via
		r, err := cfg.Run(t.Context(), to, bench.Silent)
		require.NoError(t, err, "%q", via)
		require.Equal(t, "resync", r.Figures[0].Name)
		if read, _ := r.Figure("records read"); via == bootstrap.ViaKafka {
			require.Equal(t, 5000.0, read.Value)
		}
		received, _ := r.Figure("received")
		require.Positive(t, received.Value)
	}
}

// Where the log was trimmed meanwhile a replica gets each key that has changed once, whatever the number of updates, and what came after the cut.
func TestOfATrimmedLogWhatHasChanged(t *testing.T) {
	cfg := small()
	cfg.Updates, cfg.Settle, cfg.Configs = 100_000, true, map[string]string{"keyframe.delta.retention.ms": "0"}
	r, err := cfg.Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	received, _ := r.Figure("received")
	require.Less(t, received.Value*1e6, 100_000.0*36/10, "an update has 36 bytes")
	read, _ := r.Figure("records read")
	require.Equal(t, 50.0, read.Value)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*resync.Config){
		func(c *resync.Config) { c.Name = "" }, func(c *resync.Config) { c.Partitions = 0 }, func(c *resync.Config) { c.Updates = 0 },
		func(c *resync.Config) { c.Changed = 0 }, func(c *resync.Config) { c.Changed = 1001 }, func(c *resync.Config) { c.Via = "magic" },
		func(c *resync.Config) { c.ValueBytes = 0 }, func(c *resync.Config) { c.Configs = map[string]string{"x": "y"} },
	} {
		cfg := small()
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
