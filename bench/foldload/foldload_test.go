package foldload_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/foldload"
)

func small() foldload.Config {
	cfg := foldload.DefaultConfig()
	cfg.Keys, cfg.ValueBytes, cfg.Partitions, cfg.Updates = 500, 20, 2, 20_000
	return cfg
}

func TestTheStateIsCurrentInTheEnd(t *testing.T) {
	r, err := small().Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	require.Equal(t, "records", r.Figures[0].Name)
	for _, name := range []string{"records", "current after", "next frame cut in", "broker CPU per record"} {
		f, ok := r.Figure(name)
		require.True(t, ok, name)
		require.Positive(t, f.Value, name)
	}
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*foldload.Config){
		func(c *foldload.Config) { c.Name = "" }, func(c *foldload.Config) { c.Partitions = 0 }, func(c *foldload.Config) { c.Keys = 0 },
		func(c *foldload.Config) { c.Updates = 0 }, func(c *foldload.Config) { c.ValueBytes = 0 }, func(c *foldload.Config) { c.Configs = map[string]string{"x": "y"} },
	} {
		cfg := small()
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
