package main

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
)

// outcome is how a transaction ended, as far as its producer was told.
type outcome int

const (
	unknown outcome = iota
	committed
	aborted
)

const transactionPartitions = 2

// keysOf are what a transaction writes: to each partition a key of its own.
func keysOf(transaction int) (keys []string) {
	for p := range transactionPartitions {
		keys = append(keys, fmt.Sprintf("t%d-%d", transaction, p))
	}
	return keys
}

// The process is killed while a producer commits and aborts transactions over two partitions, frames are cut and deltas trimmed, and a
// replica in a directory follows, which goes on after the restart. Every transaction is there in both partitions or in none, as its
// producer was told; and the replica, which never loads anything twice, is verified.
func TestKillLeavesTransactionsWhole(t *testing.T) {
	binary, dir, copyDir := filepath.Join(t.TempDir(), "keyframe"), filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "replica")
	build(t, binary)
	const cycles = 5
	var outcomes []outcome
	for cycle := range cycles + 1 {
		p := startProcess(t, binary, dir)
		if cycle == 0 {
			createTransactionTopic(t, p.Kafka)
		}
		w := openWriter(t, p.Kafka) // ends what the last one left open
		r, err := client.OpenReplica(t.Context(), client.Config{Brokers: []string{p.Kafka}, StateURL: p.State, Topic: "ledger", Store: client.Dir(copyDir)})
		require.NoError(t, err)
		wholeTransactions(t, w, r, outcomes)
		if cycle < cycles {
			outcomes = append(outcomes, transactAndKill(t, p, w, len(outcomes), 20+15*cycle)...)
		} else {
			p.Kill()
		}
		require.NoError(t, r.Close())
		w.CloseAllowingRebalance()
	}
	counts := map[outcome]int{}
	for _, o := range outcomes {
		counts[o]++
	}
	t.Logf("%d kills, %d transactions committed, %d aborted, %d of which nobody was told", cycles, counts[committed], counts[aborted], counts[unknown])
	require.Positive(t, counts[unknown], "no transaction was killed: the test proves less than it says")
}

func createTransactionTopic(t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	configs := map[string]*string{}
	for k, v := range map[string]string{"cleanup.policy": "compact", "keyframe.interval.records": "30", "keyframe.retain": "2", "keyframe.delta.retention.ms": "0"} {
		configs[k] = kadm.StringPtr(v)
	}
	_, err = kadm.NewClient(cl).CreateTopic(t.Context(), transactionPartitions, 1, configs, "ledger")
	require.NoError(t, err)
}

func openWriter(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("ledger"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	_, _, err = cl.ProducerID(t.Context())
	require.NoError(t, err)
	return cl
}

// transactAndKill ends transactions until enough have ended, and then kills the process in the middle of more.
func transactAndKill(t *testing.T, p *process.Broker, w *kgo.Client, first, enough int) (outcomes []outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	killed := make(chan struct{})
	for n := first; ; n++ {
		if len(outcomes) == enough {
			go func() {
				defer close(killed)
				p.Kill()
				cancel()
			}()
		}
		o, err := transact(ctx, w, n)
		outcomes = append(outcomes, o)
		if err != nil {
			require.Greater(t, len(outcomes), enough, "%v", err)
			<-killed
			return outcomes
		}
	}
}

func transact(ctx context.Context, w *kgo.Client, n int) (outcome, error) {
	if err := w.BeginTransaction(); err != nil {
		return unknown, err
	}
	for partition, key := range keysOf(n) {
		w.Produce(ctx, &kgo.Record{Partition: int32(partition), Key: []byte(key), Value: []byte("written")}, nil)
	}
	if err := w.Flush(ctx); err != nil {
		return unknown, err
	}
	commit := n%4 != 3
	if err := w.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		return unknown, err
	}
	if commit {
		return committed, nil
	}
	return aborted, nil
}

// wholeTransactions compares what the replica holds, once it has read everything, with what the producers were told.
func wholeTransactions(t *testing.T, w *kgo.Client, r *client.Replica, outcomes []outcome) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	adm := kadm.NewClient(w)
	ends, err := adm.ListEndOffsets(ctx, "ledger")
	require.NoError(t, err)
	stable, err := adm.ListCommittedOffsets(ctx, "ledger")
	require.NoError(t, err)
	ends.Each(func(end kadm.ListedOffset) {
		at, ok := stable.Lookup("ledger", end.Partition)
		require.True(t, ok)
		require.Equal(t, end.Offset, at.Offset, "the producer's new instance has ended what was open")
		require.NoError(t, r.WaitFor(ctx, end.Partition, end.Offset))
	})
	held := map[string]bool{}
	for row, err := range r.Scan(ctx, nil) {
		require.NoError(t, err)
		held[string(row.Key)] = true
	}
	for n, o := range outcomes {
		there := held[keysOf(n)[0]]
		for _, key := range keysOf(n) {
			require.Equal(t, there, held[key], "transaction %d is torn", n)
			delete(held, key)
		}
		if o != unknown {
			require.Equal(t, o == committed, there, "transaction %d", n)
		}
	}
	require.Empty(t, held)
	for _, v := range r.Verify(ctx) {
		require.Equal(t, client.Equal, v.Outcome, "%+v", v)
	}
}
