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

// Who goes on reading gets every update; both hold in the end what was written. A replica that was away for few of them goes on reading, and for many it
// gets each key that changed once.
func TestBothWaysAreCurrentAgain(t *testing.T) {
	to := benchtest.Start(t)
	for _, x := range []struct {
		via           bootstrap.Via
		updates, read int64
	}{
		{bootstrap.ViaBest, 5000, 5000},
		{bootstrap.ViaKafka, 5000, 5000},
		{bootstrap.ViaBest, 40_000, 50},
		{bootstrap.ViaKafka, 40_000, 40_000},
	} {
		cfg := small()
		cfg.Via, cfg.Updates = x.via, x.updates
		r, err := cfg.Run(t.Context(), to, bench.Silent)
		require.NoError(t, err, "%+v", x)
		require.Equal(t, "resync", r.Figures[0].Name)
		read, _ := r.Figure("records read")
		require.EqualValues(t, x.read, read.Value, "%+v", x)
		received, _ := r.Figure("received")
		require.Positive(t, received.Value)
		if x.read < 100 {
			require.Less(t, received.Value, 0.1, "MB: the handshakes, and rows of 50 keys")
		}
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
