package drill

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func small(t *testing.T, faults ...Fault) Config {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Keys, cfg.ValueBytes, cfg.Deltas, cfg.Dir = 2000, 100, 100, t.TempDir()
	if len(faults) > 0 {
		cfg.Faults = faults
	}
	return cfg
}

// run is Run, which leaves nothing behind.
func run(t *testing.T, cfg Config) Report {
	t.Helper()
	report, err := Run(t.Context(), cfg)
	require.NoError(t, err)
	requireNothingLeft(t, cfg)
	return report
}

func requireNothingLeft(t *testing.T, cfg Config) {
	t.Helper()
	left, err := os.ReadDir(cfg.Dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// The smallest topics are drilled too: where all rows are in the block with the flipped bit, the replica finds it when it is opened, and loads a key frame.
func TestSmallestTopics(t *testing.T) {
	for _, keys := range []int{KeysMin, 201, 300} {
		cfg := small(t, Flipped)
		cfg.Keys, cfg.Deltas = keys, keys/2
		report := run(t, cfg)
		require.True(t, report.OK(), "%d keys: %+v", keys, report)
		f := report.Findings[0]
		require.Equal(t, ByChecksum, f.By)
		require.Positive(t, f.After)
		require.Positive(t, f.In)
		require.Positive(t, f.Bytes)
		if keys == KeysMin {
			require.Equal(t, client.ByFrame, f.Method)
			require.EqualValues(t, keys, f.Keys)
		}
	}
}

// Each fault is found by what it should be found by, at the next key frame at the latest; the keys that differ are those that were harmed, and
// no others; what is moved for it is little beside a whole frame, where it can be.
func TestEveryFaultIsFoundAndPutRight(t *testing.T) {
	var setup Setup
	var told []Fault
	cfg := small(t)
	cfg.Started, cfg.Found = func(s Setup) { setup = s }, func(f Finding) { told = append(told, f.Fault) }
	report := run(t, cfg)
	require.EqualValues(t, 4000, setup.Rows, "two topics")
	require.Equal(t, Faults(), told)
	want := map[Fault]struct {
		by     Means
		method client.Method
		keys   int64
	}{
		Lost:      {ByKeyFrame, client.BySketch, 1},
		LostBatch: {ByKeyFrame, client.BySketch, 10},
		Doubled:   {ByKeyFrame, client.BySketch, 1},
		Mutated:   {ByKeyFrame, client.BySketch, 1},
		BeforeLog: {ByReconcile, client.BySketch, 1},
		Flipped:   {ByChecksum, client.ByIndex, 0}, // as many as a block has
		Asleep:    {ByHandshake, "", 25},
	}
	require.Len(t, report.Findings, len(want))
	for _, f := range report.Findings {
		w := want[f.Fault]
		require.True(t, f.Detected && f.Repaired && f.Exact, "%+v", f)
		require.True(t, f.OK())
		require.Equal(t, w.by, f.By, f.Fault)
		require.Equal(t, w.method, f.Method, f.Fault)
		if f.Fault != Flipped {
			require.Equal(t, w.keys, f.Keys, f.Fault)
		}
		require.Positive(t, f.After, f.Fault)
		require.Positive(t, f.In, f.Fault)
		switch f.Fault {
		case Flipped:
			require.Less(t, f.Bytes, f.WholeFrame/4, "the rows of a block: they do not grow with what there is")
			require.Greater(t, f.Keys, int64(100))
			require.Less(t, f.Keys, int64(400))
			require.Less(t, f.Injected, f.At, f.Fault)
		case Doubled: // its frame is small
			require.Less(t, f.Bytes, f.WholeFrame/4, f.Fault)
		default:
			require.Less(t, f.Bytes, f.WholeFrame/10, f.Fault)
			require.Less(t, f.Injected, f.At, f.Fault)
			require.Greater(t, f.WholeFrame, int64(2000*(16+100)), f.Fault)
		}
	}
	require.Len(t, report.Ends, 2)
	for _, end := range report.Ends {
		require.Empty(t, end.Wrong)
		require.Equal(t, map[string]int{rowsTopic: 4, countersTopic: 2}[end.Topic], end.Replicas)
	}
	require.EqualValues(t, 2000-3, report.Ends[0].Log.Count, "some keys were deleted while a replica was asleep")
	require.EqualValues(t, 2000, report.Ends[1].Log.Count)
	require.True(t, report.OK())
}

// On a broker that is another's, faults of many keys, in any order and more than once, are found and put right beside replicas that see none; in the end
// no topic is left there.
func TestFaultsOfManyKeysOnAnothersBroker(t *testing.T) {
	b := broker.DefaultConfig()
	b.DataDir, b.KafkaAddr, b.StateAddr = t.TempDir(), "127.0.0.1:0", "127.0.0.1:0"
	node, err := broker.Start(t.Context(), b)
	require.NoError(t, err)
	defer func() { require.NoError(t, node.Close()) }()
	cfg := small(t, Lost, Doubled, Mutated)
	cfg.Keys, cfg.ValueBytes, cfg.Replicas, cfg.Prefix = 20_000, 200, 3, "theirs-"
	cfg.Broker = Broker{Kafka: node.KafkaAddr().String(), State: "http://" + node.StateAddr().String()}
	d, err := Open(t.Context(), cfg)
	require.NoError(t, err)
	for _, harmed := range []int{3000, 1} { // of several batches
		for _, fault := range []Fault{Mutated, Doubled, Lost} {
			f, err := d.Inject(t.Context(), fault, harmed)
			require.NoError(t, err)
			require.True(t, f.OK(), "%+v", f)
			require.EqualValues(t, harmed, f.Keys)
			require.Positive(t, f.AfterCut)
			require.Positive(t, f.RoundTrips)
		}
	}
	_, err = d.Inject(t.Context(), Asleep, 1)
	require.ErrorIs(t, err, ErrConfig)
	_, err = d.Inject(t.Context(), Lost, 10_001)
	require.ErrorIs(t, err, ErrConfig)
	ends, err := d.Settle(t.Context())
	require.NoError(t, err)
	for _, end := range ends {
		require.Empty(t, end.Wrong)
		require.Equal(t, 3, end.Replicas)
	}
	require.Equal(t, cfg.Broker.Kafka, d.s.kafkaAddr())
	listed, err := d.s.admin.ListTopics(t.Context())
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"theirs-rows", "theirs-counters"}, listed.Names())
	require.NoError(t, d.Close())
	kafka, err := kgo.NewClient(kgo.SeedBrokers(cfg.Broker.Kafka))
	require.NoError(t, err)
	defer kafka.Close()
	listed, err = kadm.NewClient(kafka).ListTopics(t.Context())
	require.NoError(t, err)
	require.Empty(t, listed.Names())
	requireNothingLeft(t, cfg)
}

// Replicas that only report are found wrong, and are wrong to the end: so the drill can fail.
func TestReplicasThatDoNotRepairFail(t *testing.T) {
	cfg := small(t, Lost, Doubled)
	cfg.OnDrift = client.Report
	report := run(t, cfg)
	require.False(t, report.OK())
	for _, f := range report.Findings {
		require.True(t, f.Detected, f.Fault)
		require.False(t, f.Repaired, f.Fault)
		require.False(t, f.OK(), f.Fault)
	}
	for _, end := range report.Ends {
		require.Len(t, end.Wrong, 1, "the drilled replica alone: %v", end.Wrong)
	}
}

// A drill that is interrupted, wherever it is, leaves nothing behind.
func TestInterruptedDrillLeavesNothing(t *testing.T) {
	for _, at := range []Fault{"", Lost, Flipped} {
		cfg := small(t, Lost, Flipped, Asleep)
		ctx, cancel := context.WithCancel(t.Context())
		cfg.Started = func(Setup) {
			if at == "" {
				cancel()
			}
		}
		cfg.Found = func(f Finding) {
			if f.Fault == at {
				cancel()
			}
		}
		_, err := Run(ctx, cfg)
		require.ErrorIs(t, err, context.Canceled)
		requireNothingLeft(t, cfg)
		cancel()
	}
}

func TestConfigIsChecked(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no fault":      func(c *Config) { c.Faults = nil },
		"unknown fault": func(c *Config) { c.Faults = []Fault{"lots"} },
		"few keys":      func(c *Config) { c.Keys = KeysMin - 1 },
		"many keys":     func(c *Config) { c.Keys = KeysMax + 1 },
		"small values":  func(c *Config) { c.ValueBytes = ValueBytesMin - 1 },
		"large values":  func(c *Config) { c.ValueBytes = ValueBytesMax + 1 },
		"few deltas":    func(c *Config) { c.Deltas = DeltasMin - 1 },
		"few replicas":  func(c *Config) { c.Replicas = 1 },
		"many replicas": func(c *Config) { c.Replicas = ReplicasMax + 1 },
		"many deltas":   func(c *Config) { c.Deltas = c.Keys/2 + 1 },
	} {
		cfg := small(t)
		change(&cfg)
		_, err := Run(t.Context(), cfg)
		require.ErrorIs(t, err, ErrConfig, name)
		requireNothingLeft(t, cfg)
	}
	cfg := small(t)
	require.NoError(t, cfg.Validate())
	cfg = DefaultConfig()
	require.NoError(t, cfg.Validate())
}
