package broker

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

func startBroker(t *testing.T) *Broker {
	t.Helper()
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

// ledger is a topic of counters that is written in transactions, and what it adds up to.
type ledger struct {
	t         *testing.T
	b         *Broker
	p         *log.Partition
	next      map[int64]int32 // sequences, by producer
	open      map[int64][]change
	committed map[string]int
}

type change struct {
	key string
	add int
}

func (b *Broker) ledger(t *testing.T, configs map[string]string) *ledger {
	t.Helper()
	all := map[string]string{"cleanup.policy": "compact", "keyframe.fold": "counter"}
	maps.Copy(all, configs)
	topic, err := b.topics.Create(t.Context(), topics.Spec{Name: "ledger", Partitions: 1, Configs: all})
	require.NoError(t, err)
	return &ledger{t: t, b: b, p: topic.Partitions[0].Log, next: map[int64]int32{}, open: map[int64][]change{}, committed: map[string]int{}}
}

// add appends one batch, in the producer's transaction or (0) in none.
func (l *ledger) add(producer int64, changes ...change) {
	l.t.Helper()
	opts := batch.NewOptions()
	if producer != 0 {
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = producer, 0, l.next[producer], true
		l.next[producer] += int32(len(changes))
		l.open[producer] = append(l.open[producer], changes...)
	} else {
		l.apply(changes)
	}
	builder := batch.NewBuilder(opts)
	for i, c := range changes {
		r := batch.Record{Offset: int64(i), Timestamp: time.Now().UnixMilli(), Key: []byte(c.key), Value: []byte(strconv.Itoa(c.add))}
		require.NoError(l.t, builder.Append(r))
	}
	encoded, err := builder.Finish()
	require.NoError(l.t, err)
	a, err := l.p.Append(encoded)
	require.NoError(l.t, err)
	require.NoError(l.t, a.Wait(l.t.Context()))
}

func (l *ledger) end(producer int64, commit bool) {
	l.t.Helper()
	a, err := l.b.log.AppendMarkers([]*log.Partition{l.p}, log.Marker{ProducerID: producer, Commit: commit}, nil)
	require.NoError(l.t, err)
	require.NoError(l.t, a.Wait(l.t.Context()))
	if commit {
		l.apply(l.open[producer])
	}
	delete(l.open, producer)
}

func (l *ledger) apply(changes []change) {
	for _, c := range changes {
		l.committed[c.key] += c.add
	}
}

// follower is a replica, and what it was told.
type follower struct {
	*client.Replica
	mu       sync.Mutex
	verdicts map[client.Outcome]map[int64]bool // at which offsets
}

func (b *Broker) follow(t *testing.T, store client.Store) *follower {
	t.Helper()
	f := &follower{verdicts: map[client.Outcome]map[int64]bool{}}
	r, err := client.OpenReplica(t.Context(), client.Config{
		Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "ledger", Store: store, OnDrift: client.Report,
		OnVerdict: func(v client.Verdict) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.verdicts[v.Outcome] == nil {
				f.verdicts[v.Outcome] = map[int64]bool{}
			}
			f.verdicts[v.Outcome][v.At] = true
		},
	})
	require.NoError(t, err)
	f.Replica = r
	return f
}

// saw says whether there was such a verdict at the offset or later: a store that commits in batches compares where it is, if it learns of a
// frame when it has passed the cut.
func (f *follower) saw(o client.Outcome, from int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at := range f.verdicts[o] {
		if at >= from {
			return true
		}
	}
	return false
}

// state is what a replica holds once it has read everything that is committed.
func (l *ledger) state(f *follower) map[string]int {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), guard)
	defer cancel()
	require.NoError(l.t, f.WaitFor(ctx, 0, l.p.Bounds().LastStable))
	state := map[string]int{}
	for row, err := range f.Scan(l.t.Context(), nil) {
		require.NoError(l.t, err)
		n, err := strconv.Atoi(string(row.Value))
		require.NoError(l.t, err)
		state[string(row.Key)] = n
	}
	return state
}

func eachStore(t *testing.T, run func(*testing.T, client.Store)) {
	t.Run("memory", func(t *testing.T) { run(t, client.Memory()) })
	t.Run("dir", func(t *testing.T) { run(t, client.Dir(filepath.Join(t.TempDir(), "replica"))) })
}

// A frame behind a marker, and one between aborted records and their marker, are verified by a replica, which never sees the records.
func TestReplicaVerifiesAroundMarkers(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		l := startBroker(t).ledger(t, nil)
		l.add(0, change{"a", 1})
		f := l.b.follow(t, store)
		defer func() { require.NoError(t, f.Close()) }()
		verified := func() {
			t.Helper()
			cut, err := l.b.keyframer.Cut(t.Context(), "ledger")
			require.NoError(t, err)
			require.Eventually(t, func() bool { return f.saw(client.Equal, cut.Frames[0].Cut) }, guard, 5*time.Millisecond, "%d", cut.Frames[0].Cut)
		}
		l.add(7, change{"a", 10}, change{"b", 10})
		l.end(7, true) // 3
		verified()     // right behind a commit marker
		l.add(7, change{"a", 100}, change{"c", 100})
		l.end(7, false)
		verified() // behind aborted records and their marker
		require.Equal(t, map[string]int{"a": 11, "b": 10}, l.state(f))

		l.add(8, change{"a", 1000}) // aborted later, below the cut
		l.add(9, change{"d", 1})    // holds the cut here
		l.end(8, false)
		cut, err := l.b.keyframer.Cut(t.Context(), "ledger")
		require.NoError(t, err)
		require.False(t, cut.Consistent)
		require.Equal(t, cut.Frames[0].Cut, l.p.OpenTxns()[0].FirstOffset)
		l.end(9, true)
		require.Eventually(t, func() bool { return f.saw(client.Equal, cut.Frames[0].Cut) }, guard, 5*time.Millisecond)
		require.Equal(t, l.committed, l.state(f))
		f.requireVerified(t)
		require.NoError(t, f.Close()) // all is told
		require.Empty(t, f.verdicts[client.Drifted])
	})
}

// requireVerified says that the state equals the log at its position, once the broker can tell.
func (f *follower) requireVerified(t *testing.T) {
	t.Helper()
	var v client.Verdict
	require.Eventually(t, func() bool {
		v = f.Verify(t.Context())[0]
		return v.Outcome != client.Inconclusive
	}, guard, time.Millisecond)
	require.Equal(t, client.Equal, v.Outcome, v.Reason)
}

// Transactions that are committed and aborted beside each other, while frames are cut and deltas trimmed: replicas that follow, lag, or
// begin anywhere in between hold what is committed, and every comparison says so.
func TestReplicasOfTransactions(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 1))
		l := startBroker(t).ledger(t, map[string]string{"keyframe.interval.records": "40", "keyframe.retain": "2", "keyframe.delta.retention.ms": "0"})
		f := l.b.follow(t, store)
		defer func() { require.NoError(t, f.Close()) }()
		for range 600 {
			producer := 1 + r.Int64N(4)
			switch r.IntN(20) {
			case 0, 1, 2:
				l.end(producer, r.IntN(2) == 0)
			case 3:
				if r.IntN(4) == 0 {
					require.NoError(t, f.Close())
					f = l.b.follow(t, store)
				}
			case 4, 5:
				l.add(0, change{fmt.Sprint("k", r.IntN(20)), 1})
			case 6:
				_, err := l.b.keyframer.Cut(t.Context(), "ledger")
				require.NoError(t, err)
			default:
				var changes []change
				for range 1 + r.IntN(4) {
					changes = append(changes, change{fmt.Sprint("k", r.IntN(20)), r.IntN(9) + 1})
				}
				l.add(producer, changes...)
			}
		}
		for producer := range l.open {
			l.end(producer, r.IntN(2) == 0)
		}
		l.add(0, change{"last", 1})
		require.Eventually(t, func() bool { return l.p.Bounds().DeltaStart > 0 }, guard, time.Millisecond, // upkeep trims when it comes to it
			"nothing was trimmed: the test proves less than it says")
		require.Equal(t, l.committed, l.state(f))
		f.requireVerified(t)
		require.NoError(t, f.Close()) // all is told
		f.mu.Lock()
		defer f.mu.Unlock()
		require.Empty(t, f.verdicts[client.Drifted])
		require.NotEmpty(t, f.verdicts[client.Equal])
	})
}
