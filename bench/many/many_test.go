package many_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/many"
)

func TestOneInFlightOnEach(t *testing.T) {
	to := benchtest.Start(t)
	cfg := many.DefaultConfig()
	cfg.Partitions, cfg.Clients, cfg.Duration = 20, 2, 500*time.Millisecond
	r, err := cfg.Run(t.Context(), to, bench.Silent)
	require.NoError(t, err)
	require.Equal(t, "records", r.Figures[0].Name)
	require.GreaterOrEqual(t, r.Latency[0].Count, int64(20), "each partition had one at least")
	topics, err := to.Admin().ListTopics(t.Context())
	require.NoError(t, err)
	require.NotContains(t, kadm.TopicDetails(topics).Names(), cfg.Name, "it is dropped")
}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*many.Config){
		func(c *many.Config) { c.Name = "" }, func(c *many.Config) { c.Partitions = 0 }, func(c *many.Config) { c.Clients = 0 },
		func(c *many.Config) { c.Clients = 3 }, func(c *many.Config) { c.Duration = 0 }, func(c *many.Config) { c.Keys = 5 },
		func(c *many.Config) { c.Acks = "2" }, func(c *many.Config) { c.Configs = map[string]string{"max.message.bytes": "10"} },
	} {
		cfg := many.DefaultConfig()
		cfg.Partitions, cfg.Duration = 2, 100*time.Millisecond
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
