package produce_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/produce"
)

func short() produce.Config {
	cfg := produce.DefaultConfig()
	cfg.Partitions, cfg.Duration = 2, 300*time.Millisecond
	return cfg
}

func TestFlatOut(t *testing.T) {
	to, cfg := benchtest.Start(t), short()
	cfg.Producers, cfg.Keys, cfg.ValueBytes = 2, 100, 50
	phases := &phases{}
	r, err := cfg.Run(t.Context(), to, phases)
	require.NoError(t, err)
	require.Equal(t, "fsync before the acknowledgement", r.Target.Durability)
	throughput, _ := r.Figure("throughput")
	records, _ := r.Figure("records")
	require.Positive(t, records.Value)
	require.InEpsilon(t, records.Value*66/1e6, throughput.Value, 1e-9, "keys count as well as values")
	require.NotZero(t, phases.n.Load())
	cpu, ok := r.Figure("broker CPU")
	require.True(t, ok)
	require.Equal(t, "s/GB", cpu.Unit)
	again, err := cfg.Run(t.Context(), to, bench.Silent)
	require.NoError(t, err, "the topic of the first run is gone")
	require.Equal(t, cfg, again.Config)
}

// At a rate there are so many records, and no more, whatever the broker could take.
func TestAtARate(t *testing.T) {
	cfg := short()
	cfg.Rate, cfg.Producers, cfg.Linger, cfg.Duration = 1000, 2, 0, time.Second
	r, err := cfg.Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	records, _ := r.Figure("records")
	require.LessOrEqual(t, records.Value, 1001.0)
	require.Positive(t, records.Value)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*produce.Config){
		func(c *produce.Config) { c.Name = "" }, func(c *produce.Config) { c.Partitions = 0 }, func(c *produce.Config) { c.Producers = 0 },
		func(c *produce.Config) { c.Duration = 0 }, func(c *produce.Config) { c.Rate = -1 }, func(c *produce.Config) { c.ValueBytes = 0 },
		func(c *produce.Config) { c.Acks = "some" }, func(c *produce.Config) { c.Configs = map[string]string{"max.message.bytes": "100"} },
	} {
		cfg := short()
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}

type phases struct{ n atomic.Int64 }

func (p *phases) Phase(string, int64, string) { p.n.Add(1) }
func (p *phases) At(int64)                    {}
