package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/inspect"
)

// life is a topic whose policy, log start and transactions change, with a broker that is restarted and a replica.
type life struct {
	*ledger
	cfg      Config
	configs  map[string]string
	policy   string
	store    client.Store
	follower *follower
	records  []written
	history  []string
}

// written is a record of a life; aborted and open ones are no part of it.
type written struct {
	offset, producer int64
	key, value       string
	committed        bool
}

func (l *life) note(format string, a ...any) {
	l.history = append(l.history, fmt.Sprintf(format, a...)+fmt.Sprintf(" %+v", l.p.Bounds()))
}

func (l *life) put(producer int64, changes ...change) {
	for i, c := range changes {
		l.records = append(l.records, written{l.p.Bounds().LogEnd + int64(i), producer, c.key, strconv.Itoa(c.add), producer == 0})
	}
	l.add(producer, changes...)
	l.note("put %d %v", producer, changes)
}

func (l *life) finish(producer int64, commit bool) {
	l.end(producer, commit)
	l.records = slices.DeleteFunc(l.records, func(r written) bool { return r.producer == producer && !r.committed && !commit })
	for i := range l.records {
		l.records[i].committed = l.records[i].committed || l.records[i].producer == producer
	}
	l.note("end %d %v", producer, commit)
}

func (l *life) setPolicy(policy string) {
	l.policy, l.configs["cleanup.policy"] = policy, policy
	require.NoError(l.t, l.b.topics.SetConfigs(l.t.Context(), "ledger", l.configs))
	l.note("policy %s", policy)
	if policy != "delete" && l.follower != nil && errors.Is(l.follower.Err(), client.ErrRefused) { // it asked while the topic was not key-framed
		l.closeFollower()
	}
	if policy != "delete" && l.follower == nil {
		l.follower = l.b.follow(l.t, l.store)
	}
}

func (l *life) deleteRecords(to int64) {
	topic, _ := l.b.topics.Get("ledger")
	_, err := l.b.topics.DeleteRecords(l.t.Context(), topic, topic.Partitions[0], to)
	require.NoError(l.t, err)
	l.note("delete to %d", to)
}

func (l *life) restart() {
	if l.follower != nil {
		l.closeFollower()
	}
	require.NoError(l.t, l.b.Close())
	l.start()
	if l.policy != "delete" {
		l.follower = l.b.follow(l.t, l.store)
	}
	l.note("restart")
}

func (l *life) start() {
	b, err := Start(l.t.Context(), l.cfg)
	require.NoError(l.t, err)
	topic, ok := b.topics.Get("ledger")
	require.True(l.t, ok)
	l.b, l.p = b, topic.Partitions[0].Log
}

func (l *life) closeFollower() {
	f := l.follower
	l.follower = nil
	require.NoError(l.t, f.Close())
	require.Empty(l.t, f.verdicts[client.Drifted])
}

// consume reads to the end as a Kafka consumer that wants committed records, and compares the last values of all keys.
func (l *life) consume() {
	b := l.p.Bounds()
	want, got := map[string]string{}, map[string]string{}
	for _, r := range l.records {
		if r.committed && r.offset >= b.LogStart && r.offset < b.LastStable {
			want[r.key] = r.value
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(l.b.KafkaAddr().String()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"ledger": {0: kgo.NewOffset().AtStart()}}))
	require.NoError(l.t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(l.t.Context(), guard)
	defer cancel()
	last := int64(-1)
	for len(want) > 0 && !maps.Equal(want, got) {
		fetches := c.PollFetches(ctx)
		require.NoError(l.t, fetches.Err(), "want %v, got %v to %d of %+v", want, got, last, b)
		for _, r := range fetches.Records() {
			require.Greater(l.t, r.Offset, last)
			require.GreaterOrEqual(l.t, r.Offset, b.LogStart)
			if last = r.Offset; !r.Attrs.IsControl() {
				got[string(r.Key)] = string(r.Value)
			}
		}
	}
}

func (l *life) step(r *rand.Rand) {
	producer := 1 + r.Int64N(3)
	var changes []change
	for range 1 + r.IntN(4) {
		changes = append(changes, change{fmt.Sprint("k", r.IntN(20)), r.IntN(9) + 1})
	}
	switch r.IntN(24) {
	case 0, 1, 2:
		l.finish(producer, r.IntN(2) == 0)
	case 3:
		if r.IntN(4) == 0 {
			l.restart()
		}
	case 4, 5:
		l.put(0, changes[0])
	case 6:
		if l.policy != "delete" {
			_, err := l.b.keyframer.Cut(l.t.Context(), "ledger")
			require.NoError(l.t, err)
			l.note("cut")
		}
	case 7:
		if b := l.p.Bounds(); l.policy != "compact" {
			l.deleteRecords(b.LogStart + r.Int64N(b.HighWatermark-b.LogStart+1)/(1+3*r.Int64N(2)))
		}
	case 8:
		if r.IntN(3) == 0 {
			l.setPolicy([]string{"delete", "compact", "compact,delete"}[r.IntN(3)])
		}
	case 9:
		if l.configs["keyframe.fold"] == "last-value" && r.IntN(3) == 0 {
			l.consume()
		}
	default:
		l.put(producer, changes...)
	}
}

// Through changes of policy, deleted records, transactions, trims and restarts: consumers get the last committed value of every key from the
// log start on, replicas are what the log is, and are never told that they have drifted, and the directory passes its check.
func TestLifeOfATopic(t *testing.T) {
	for _, kind := range []string{"counter", "last-value"} {
		t.Run(kind, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store client.Store) { lifeOfATopic(t, kind, store) })
		})
	}
}

func lifeOfATopic(t *testing.T, kind string, store client.Store) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	l := &life{store: store, policy: "compact,delete", cfg: DefaultConfig(), configs: map[string]string{
		"keyframe.interval.records": "30", "keyframe.retain": "2", "keyframe.delta.retention.ms": "0", "retention.ms": "-1",
		"keyframe.fold": kind, "cleanup.policy": "compact,delete",
	}}
	l.cfg.DataDir, l.cfg.KafkaAddr, l.cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := Start(t.Context(), l.cfg)
	require.NoError(t, err)
	l.ledger = b.ledger(t, l.configs)
	l.follower = l.b.follow(t, store)
	defer func() {
		if t.Failed() {
			for _, h := range l.history[max(0, len(l.history)-60):] {
				t.Log(h)
			}
		}
	}()
	for range 400 {
		l.step(r)
		if k, ok := l.b.keyframer.Topic("ledger"); ok {
			require.NoError(t, k.Partitions()[0].Failure())
		}
	}
	for producer := range l.open {
		l.finish(producer, r.IntN(2) == 0)
	}
	l.setPolicy("compact,delete")
	l.put(0, change{"last", 1})
	if kind == "last-value" {
		l.consume()
	}
	f := l.follower
	_, err = l.b.keyframer.Cut(t.Context(), "ledger")
	require.NoError(t, err)
	require.Eventually(t, func() bool { return f.Verify(t.Context())[0].Outcome == client.Equal }, guard, 5*time.Millisecond)
	topic, _ := l.b.keyframer.Topic("ledger")
	live, err := topic.Partitions()[0].Live()
	require.NoError(t, err)
	_, rows, done, err := live.Scan(nil, nil)
	require.NoError(t, err)
	want := map[string]int{}
	for row, err := range rows {
		require.NoError(t, err)
		want[string(row.Key)], err = strconv.Atoi(string(row.Value))
		require.NoError(t, err)
	}
	done()
	require.Equal(t, want, l.state(f))
	l.closeFollower()
	require.NoError(t, l.b.Close())
	d, err := inspect.Open(engine.Config{Dir: l.cfg.DataDir})
	require.NoError(t, err)
	report, err := d.Check(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, report.Problems)
	require.NoError(t, d.Close())
}
