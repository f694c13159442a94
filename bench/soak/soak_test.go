package soak

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/benchtest"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/client"
)

func short() Config {
	cfg := DefaultConfig()
	cfg.Keys, cfg.ValueBytes, cfg.Partitions, cfg.Rate, cfg.Duration, cfg.Interval = 100, 20, 2, 1000, 500*time.Millisecond, 100*time.Millisecond
	return cfg
}

// As a replica, and as a Kafka client where there is no state plane: all that was sent comes once, the state is that of the log, and samples tell of the
// whole time.
func TestNothingIsLost(t *testing.T) {
	to := benchtest.Start(t)
	plain, err := target.Open(t.Context(), target.Config{Brokers: to.Brokers})
	require.NoError(t, err)
	defer plain.Close()
	for _, at := range []*target.Target{to, plain} {
		r, err := short().Run(t.Context(), at, bench.Silent)
		require.NoError(t, err)
		require.Equal(t, "records", r.Figures[0].Name)
		require.LessOrEqual(t, r.Figures[0].Value, 1001.0)
		require.EqualValues(t, 500, r.Latency[0].Count, "each record once")
		for _, name := range []string{"end to end p99", "worst p99 of an interval", "broker RSS at the end", "broker disk at the end", "broker CPU per record"} {
			_, ok := r.Figure(name)
			require.True(t, ok, name)
		}
		equal, ok := r.Figure("times equal to the log")
		require.Equal(t, at.StateURL != "", ok)
		require.True(t, !ok || equal.Value >= 2, "both partitions were verified")
		names := map[string]bool{}
		for _, s := range r.Series {
			names[s.Name] = true
			require.NotEmpty(t, s.X)
			require.Len(t, s.Y, len(s.X))
		}
		require.Len(t, names, 6)
	}
}

// A record that comes twice, out of order, or as another is no arrival.
func TestWhatComesIsLookedAt(t *testing.T) {
	cfg := short()
	r := &run{Config: cfg, newest: map[int32]uint64{}, arrived: newArrived(), state: &rows{byKey: map[string][]byte{}}}
	record := func(partition int32, number uint64) *kgo.Record {
		value := make([]byte, cfg.ValueBytes)
		binary.BigEndian.PutUint64(value, number)
		binary.BigEndian.PutUint64(value[8:], uint64(time.Now().UnixNano()))
		return &kgo.Record{Partition: partition, Key: []byte("k"), Value: value}
	}
	for _, n := range []uint64{0, 3, 4} {
		require.NoError(t, r.took(record(0, n), time.Now()))
	}
	require.NoError(t, r.took(record(1, 1), time.Now()))
	require.ErrorContains(t, r.took(record(0, 4), time.Now()), "doubled, or out of order")
	require.ErrorContains(t, r.took(record(0, 2), time.Now()), "doubled, or out of order")
	require.ErrorContains(t, r.took(&kgo.Record{Value: []byte("x")}, time.Now()), "has a value of 1 bytes")
	require.EqualValues(t, 4, r.got.Load())
}

// A replica that is told to have drifted ends the run with that.
func TestDriftEndsIt(t *testing.T) {
	f := &frames{}
	ctx, stop := context.WithCancelCause(t.Context())
	f.OnDrift(stop)
	f.told(client.Verdict{Outcome: client.Equal})
	require.NoError(t, ctx.Err())
	f.told(client.Verdict{Outcome: client.Drifted, Partition: 1, At: 7, Reason: "sums differ"})
	require.ErrorContains(t, context.Cause(ctx), "has drifted: partition 1 at 7: sums differ")
	n, ok := f.equal()
	require.True(t, ok)
	require.EqualValues(t, 1, n)
}

// A state that is another than what was sent is found in the end, whatever the broker says.
func TestAnotherStateIsFound(t *testing.T) {
	to := benchtest.Start(t)
	plain, err := target.Open(t.Context(), target.Config{Brokers: to.Brokers})
	require.NoError(t, err)
	defer plain.Close()
	topic, err := plain.Create(t.Context(), short().Compacted())
	require.NoError(t, err)
	r, err := short().open(t.Context(), plain)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.close()) }()
	require.NoError(t, r.all(t.Context(), bench.Silent))
	require.NoError(t, r.compare(t.Context(), topic))
	r.state.(*rows).byKey["key-000000000000"] = []byte("forged")
	require.ErrorContains(t, r.compare(t.Context(), topic), "is not the one")
}

func TestInterrupted(t *testing.T) {
	to, cfg := benchtest.Start(t), short()
	cfg.Duration = time.Hour
	ctx, cancel := context.WithCancelCause(t.Context())
	_, err := cfg.Run(ctx, to, atPhase{func() { cancel(errors.New("enough")) }})
	require.ErrorContains(t, err, "enough")
	topics, err := to.Admin().ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, topics.Names())
}

// atPhase does something as soon as something is under way.
type atPhase struct{ do func() }

func (a atPhase) Phase(string, int64, string) { a.do() }
func (a atPhase) At(int64)                    {}

func TestRefused(t *testing.T) {
	to := benchtest.Start(t)
	for _, change := range []func(*Config){
		func(c *Config) { c.Name = "" }, func(c *Config) { c.Partitions = 0 }, func(c *Config) { c.Rate = 0 }, func(c *Config) { c.Keys = 0 }, func(c *Config) { c.Duration = 0 },
		func(c *Config) { c.Interval = 0 }, func(c *Config) { c.Interval = time.Hour }, func(c *Config) { c.ValueBytes = 15 }, func(c *Config) { c.Acks = "0" },
		func(c *Config) { c.Configs = map[string]string{"x": "y"} },
	} {
		cfg := short()
		change(&cfg)
		_, err := cfg.Run(t.Context(), to, bench.Silent)
		require.Error(t, err, "%+v", cfg)
	}
}
