package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

const (
	trialKeys       = 5_000
	trialPartitions = 3
	deltasEnv       = "KEYFRAME_BENCH_DELTAS" // of BenchmarkNoFalseAlarm; default 10 M
)

// trial writes deltas of every fold at random, with frames cut and deltas trimmed all the time, while replicas in memory and in directories follow and
// the broker and they are restarted. It keeps what the replicas said.
type trial struct {
	*node
	rng    *rand.Rand
	deltas int    // in all
	rounds int    // with a restart, or a frame cut in between, in each
	forged dialer // what one replica of each topic reads through; nil: the log as it is
	topics []*trialTopic

	restarts, kills, reopened int

	closed sync.Once

	mu sync.Mutex
	// Guarded by mu.
	verdicts map[client.Outcome]int
	events   map[client.EventKind]int
	alarms   []string // what must not be said
}

type trialTopic struct {
	name     string
	producer *client.Producer
	replicas []*trialReplica
}

type trialReplica struct {
	*client.Replica
	store client.Store
}

func newTrial(t testing.TB, n *node, deltas, rounds int, forged bool) *trial {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	x := &trial{node: n, rng: rand.New(rand.NewPCG(seed, 1)), deltas: deltas, rounds: rounds, verdicts: map[client.Outcome]int{}, events: map[client.EventKind]int{}}
	if forged {
		x.forged = forging(n.dialKafka, said, read)
	}
	admin := kadm.NewClient(n.kafkaClient())
	for _, kind := range []string{"last-value", "counter", "json-merge-patch"} {
		configs := map[string]*string{}
		for name, value := range map[string]string{
			"cleanup.policy": "compact", "keyframe.fold": kind, "keyframe.retain": "3", "keyframe.delta.retention.ms": "0", "keyframe.delta.retention.bytes": "0",
			"min.compaction.lag.ms": "0", "keyframe.interval.records": fmt.Sprint(max(deltas/3/trialPartitions/200, 50)),
		} {
			configs[name] = &value
		}
		_, err := admin.CreateTopic(t.Context(), trialPartitions, 1, configs, kind)
		require.NoError(t, err)
		p, err := client.NewProducer(t.Context(), client.ProducerConfig{Topic: kind, Options: []kgo.Opt{
			kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(n.dialKafka), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), kgo.MaxBufferedRecords(1 << 15),
		}})
		require.NoError(t, err)
		topic := &trialTopic{name: kind, producer: p}
		x.topics = append(x.topics, topic)
		for _, store := range []client.Store{client.Memory(), client.Dir(filepath.Join(t.TempDir(), "replica"))} {
			r := &trialReplica{store: store}
			topic.replicas = append(topic.replicas, r)
			x.open(topic, r)
		}
	}
	return x
}

// close closes what follows and writes. Only then all is told that replicas have to say.
func (x *trial) close() {
	x.closed.Do(func() {
		for _, topic := range x.topics {
			for _, r := range topic.replicas {
				require.NoError(x.t, r.Close())
			}
			topic.producer.Close()
		}
	})
}

func (x *trial) open(topic *trialTopic, r *trialReplica) {
	dial := x.dialKafka
	if x.forged != nil && r == topic.replicas[0] { // of two that are wrong alike the broker would be disputed
		dial = x.forged
	}
	ctx, cancel := context.WithTimeout(x.t.Context(), guard)
	defer cancel()
	var err error
	r.Replica, err = client.OpenReplica(ctx, client.Config{
		Brokers: []string{"127.0.0.1:9092"}, StateURL: stateURL, Topic: topic.name, Store: r.store,
		HTTPClient:   &http.Client{Transport: &http.Transport{DialContext: x.dialState}},
		KafkaOptions: []kgo.Opt{kgo.Dialer(dial), kgo.DisableFetchCRCValidation()},
		OnVerdict: func(v client.Verdict) {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.verdicts[v.Outcome]++; v.Outcome == client.Drifted {
				x.alarms = append(x.alarms, fmt.Sprintf("%s partition %d at %d: %s", v.Topic, v.Partition, v.At, v.Reason))
			}
		},
		OnEvent: func(e client.Event) {
			x.mu.Lock()
			defer x.mu.Unlock()
			switch x.events[e.Kind]++; e.Kind {
			case client.FrameRejected, client.NewIncarnation, client.DriftFound, client.Stopped, client.CorruptionFound, client.Repaired, client.RepairFailed, client.RepairRefused:
				x.alarms = append(x.alarms, fmt.Sprintf("%s partition %d: %s: %v", e.Topic, e.Partition, e.Kind, e.Err))
			}
		},
	})
	require.NoError(x.t, err)
}

// record is a delta at random.
func (x *trial) record(topic *trialTopic) *kgo.Record {
	key := fmt.Appendf(nil, "key-%04d", x.rng.IntN(trialKeys))
	p := topic.producer
	if x.rng.IntN(20) == 0 {
		return p.Delete(key)
	}
	switch topic.name {
	case "counter":
		return p.Add(key, x.rng.Int64N(1000)-300)
	case "json-merge-patch":
		if x.rng.IntN(4) == 0 {
			return p.Merge(key, fmt.Appendf(nil, `{"f%d":null}`, x.rng.IntN(6)))
		}
		return p.Merge(key, fmt.Appendf(nil, `{"f%d":%d,"g":{"h%d":"%x"}}`, x.rng.IntN(6), x.rng.IntN(1000), x.rng.IntN(3), x.rng.Uint64()))
	}
	return p.Put(key, fmt.Appendf(nil, "%0*d", 1+x.rng.IntN(60), x.rng.IntN(1000)))
}

// run is the trial. It returns once every replica has caught up and was compared.
func (x *trial) run() {
	failed := make(chan error, 1)
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			select {
			case failed <- err:
			default:
			}
		}
	}
	for round := range x.rounds {
		var writing sync.WaitGroup
		writing.Go(func() {
			for range x.deltas / x.rounds {
				topic := x.topics[x.rng.IntN(len(x.topics))]
				topic.producer.Produce(x.t.Context(), x.record(topic), promise)
			}
			if x.forged != nil {
				p := x.topics[0].producer
				p.Produce(x.t.Context(), p.Put(fmt.Appendf(nil, "forged-%d", round), []byte(said)), promise)
			}
		})
		x.disturb(round)
		writing.Wait()
		for _, topic := range x.topics {
			require.NoError(x.t, topic.producer.Flush(x.t.Context()))
		}
	}
	select {
	case err := <-failed:
		require.NoError(x.t, err)
	default:
	}
	for _, topic := range x.topics {
		x.cut(topic.name)
		require.Eventually(x.t, func() bool { // upkeep trims when it comes to it
			return !slices.ContainsFunc(x.partitions(topic.name), func(p *state.Partition) bool { return p.DeltaStartOffset == 0 })
		}, guard, time.Millisecond, "nothing was trimmed: the trial shows less than it says")
		for _, p := range x.partitions(topic.name) {
			for _, r := range topic.replicas {
				(&replica{Replica: r.Replica, t: x.t}).catchUp(p.Partition, p.LastStableOffset)
			}
		}
	}
}

// disturb restarts the broker or a replica, or cuts a frame more, while deltas are written.
func (x *trial) disturb(round int) {
	switch round % 4 {
	case 0:
		x.restarts++
		x.restart(false)
	case 1, 3:
		topic := x.topics[round/2%len(x.topics)]
		r := topic.replicas[round/4%len(topic.replicas)]
		require.NoError(x.t, r.Close())
		x.reopened++
		x.open(topic, r)
	case 2:
		if x.binary != "" {
			x.kills++
			x.restart(true)
			return
		}
		for _, topic := range x.topics {
			x.cut(topic.name)
		}
	}
}

// equal compares every replica with the log at its own position.
func (x *trial) equal() bool {
	for _, topic := range x.topics {
		for _, r := range topic.replicas {
			for _, v := range r.Verify(x.t.Context()) {
				if v.Outcome != client.Equal {
					return false
				}
			}
		}
	}
	return true
}

func (x *trial) String() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return fmt.Sprintf("%d deltas, %d restarts of the broker, %d kills, %d of replicas: verdicts %v, events %v", x.deltas, x.restarts, x.kills, x.reopened,
		maps.Clone(x.verdicts), maps.Clone(x.events))
}

// Replicas that are right are never told that they are not.
func TestNoFalseAlarm(t *testing.T) {
	x := newTrial(t, startNode(t, ""), 50_000, 16, false)
	defer x.close()
	x.run()
	require.True(t, x.equal())
	x.close()
	t.Log(x)
	require.Empty(t, x.alarms)
	require.Greater(t, x.verdicts[client.Equal], x.rounds)
}

// BenchmarkNoFalseAlarm is the figure: 10 M deltas, with a broker that is a process of its own, and is killed too.
func BenchmarkNoFalseAlarm(b *testing.B) {
	deltas, err := strconv.Atoi(cmp.Or(os.Getenv(deltasEnv), "10000000"))
	require.NoError(b, err, deltasEnv)
	binary := filepath.Join(b.TempDir(), "keyframe")
	require.NoError(b, process.Build(b.Context(), binary))
	began := time.Now()
	x := newTrial(b, startNode(b, binary), deltas, 80, false)
	defer x.close()
	x.run()
	require.True(b, x.equal())
	x.close()
	b.Log(x)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(len(x.alarms)), "alarms")
	b.ReportMetric(float64(deltas), "deltas")
	b.ReportMetric(float64(x.verdicts[client.Equal]), "equal")
	b.ReportMetric(float64(x.verdicts[client.Inconclusive]), "inconclusive")
	b.ReportMetric(float64(x.verdicts[client.Error]), "failed") // the broker was away
	b.ReportMetric(float64(x.restarts+x.kills+x.reopened), "restarts")
	b.ReportMetric(float64(deltas)/time.Since(began).Seconds(), "deltas/s")
	for _, alarm := range x.alarms[:min(len(x.alarms), 10)] {
		b.Log(alarm)
	}
}

// The trial can fail: it is told of deltas that are changed on their way.
func TestTrialSeesDrift(t *testing.T) {
	x := newTrial(t, startNode(t, ""), 5_000, 8, true)
	defer x.close()
	x.run()
	require.Eventually(t, x.equal, guard, time.Millisecond, "all is repaired in the end")
	x.close()
	t.Log(x)
	require.NotEmpty(t, x.alarms)
	require.Positive(t, x.verdicts[client.Drifted])
}
