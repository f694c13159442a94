package bootstrap_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/bootstrap"
)

func small() bootstrap.Config {
	cfg := bootstrap.DefaultConfig()
	cfg.Keys, cfg.ValueBytes, cfg.Partitions, cfg.Consumers, cfg.Updates = 500, 20, 2, 2, []int64{500, 4000}
	return cfg
}

// By a key frame a consumer gets each key once, however many updates there were; as a Kafka client every record that is kept.
func TestBothWaysEndInTheStateThatWasWritten(t *testing.T) {
	to := benchtest.Start(t)
	for via, records := range map[bootstrap.Via]float64{bootstrap.ViaBest: 500, bootstrap.ViaKafka: 4000} {
		cfg := small()
		cfg.Via, cfg.Cut = via, via == bootstrap.ViaBest
		r, err := cfg.Run(t.Context(), to, bench.Silent)
		require.NoError(t, err)
		require.Equal(t, "bootstrap", r.Figures[0].Name)
		require.Positive(t, r.Figures[0].Value)
		read, _ := r.Figure("records read")
		require.Equal(t, records, read.Value, "%q", via)
		received, _ := r.Figure("received")
		require.Greater(t, received.Value*1e6, records*36, "keys and values at least")
		require.Equal(t, []float64{500, 4000}, r.Series[0].X)
		first, ok := r.Figure("records read after 500 updates")
		require.True(t, ok, "each step has its figures")
		require.Equal(t, 500.0, first.Value)
		last, _ := r.Figure("bootstrap after 4k updates")
		require.Equal(t, r.Figures[0].Value, last.Value)
	}
}

// A log that keeps no raw delta longer than it must gives a Kafka client each key once, and what came after the cut.
func TestAKafkaClientAfterACut(t *testing.T) {
	cfg := small()
	cfg.Updates, cfg.Via, cfg.Cut, cfg.Settle, cfg.Configs = []int64{20_000}, bootstrap.ViaKafka, true, true, map[string]string{"keyframe.delta.retention.ms": "0"}
	r, err := cfg.Run(t.Context(), benchtest.Start(t), bench.Silent)
	require.NoError(t, err)
	read, _ := r.Figure("records read")
	require.GreaterOrEqual(t, read.Value, 500.0)
	require.LessOrEqual(t, read.Value, 500.0+1000)
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*bootstrap.Config){
		func(c *bootstrap.Config) { c.Name = "" }, func(c *bootstrap.Config) { c.Partitions = 0 }, func(c *bootstrap.Config) { c.Keys = 0 },
		func(c *bootstrap.Config) { c.Updates = nil }, func(c *bootstrap.Config) { c.Updates = []int64{10} }, func(c *bootstrap.Config) { c.Updates = []int64{4000, 500} },
		func(c *bootstrap.Config) { c.Consumers = 0 }, func(c *bootstrap.Config) { c.Via = "magic" }, func(c *bootstrap.Config) { c.Configs = map[string]string{"x": "y"} },
	} {
		cfg := small()
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
