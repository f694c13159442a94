package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
)

// writer is a transactional producer: what it has committed, and, of each transaction, keys of its own.
type writer struct {
	t         *testing.T
	cl        *kgo.Client
	id        string
	n         int
	committed map[string]string
}

func (b *Broker) writer(t *testing.T, id string) *writer {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.KafkaAddr().String()), kgo.TransactionalID(id), kgo.DefaultProduceTopic("ledger"))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return &writer{t: t, cl: cl, id: id, committed: map[string]string{}}
}

// transact writes a few keys of its own, and one that all its transactions share, and commits or aborts.
func (w *writer) transact(ctx context.Context, r *rand.Rand) error {
	if err := w.cl.BeginTransaction(); err != nil {
		return err
	}
	w.n++
	wrote := map[string]string{"head-" + w.id: strconv.Itoa(w.n)}
	for i := range 1 + r.IntN(5) {
		wrote[fmt.Sprintf("%s-%d-%d", w.id, w.n, i)] = strconv.Itoa(w.n)
	}
	for k, v := range wrote {
		w.cl.Produce(ctx, &kgo.Record{Key: []byte(k), Value: []byte(v)}, nil)
	}
	if err := w.cl.Flush(ctx); err != nil {
		return err
	}
	commit := r.IntN(3) > 0
	if err := w.cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		return err
	}
	if commit {
		for k, v := range wrote {
			w.committed[k] = v
		}
	}
	return nil
}

// Transactional producers write over several partitions while frames are cut and deltas trimmed: a replica and a consumer of committed
// records arrive at what was committed, no more and no less.
func TestTransactionalProducers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	b := startBroker(t)
	const partitions = 3
	_, err := b.topics.Create(ctx, topics.Spec{Name: "ledger", Partitions: partitions, Configs: map[string]string{"cleanup.policy": "compact",
		"keyframe.interval.records": "50", "keyframe.retain": "2", "keyframe.delta.retention.ms": "0"}})
	require.NoError(t, err)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := b.follow(t, client.Memory())
	defer func() { require.NoError(t, f.Close()) }()

	var writing sync.WaitGroup
	errs := make([]error, 3)
	writers := make([]*writer, len(errs))
	for i := range writers {
		w, r := b.writer(t, fmt.Sprint("writer", i)), rand.New(rand.NewPCG(seed, uint64(i)))
		writers[i] = w
		writing.Go(func() {
			for range 60 {
				if errs[i] = w.transact(ctx, r); errs[i] != nil {
					return
				}
			}
		})
	}
	writing.Wait()
	want := map[string]string{}
	for i, w := range writers {
		require.NoError(t, errs[i])
		for k, v := range w.committed {
			want[k] = v
		}
	}
	cut, err := b.keyframer.Cut(ctx, "ledger")
	require.NoError(t, err)
	require.True(t, cut.Consistent, "every transaction has ended")

	topic, _ := b.topics.Get("ledger")
	require.Eventually(t, func() bool { // upkeep trims when it comes to it
		return slices.ContainsFunc(topic.Partitions, func(p *topics.Partition) bool { return p.Log.Bounds().DeltaStart > 0 })
	}, guard, time.Millisecond, "nothing was trimmed: the test proves less than it says")
	for i, p := range topic.Partitions {
		bounds := p.Log.Bounds()
		require.Equal(t, bounds.HighWatermark, bounds.LastStable)
		require.NoError(t, f.WaitFor(ctx, int32(i), bounds.LastStable))
	}
	got := map[string]string{}
	for row, err := range f.Scan(ctx, nil) {
		require.NoError(t, err)
		got[string(row.Key)] = string(row.Value)
	}
	require.Equal(t, want, got)
	for _, v := range f.Verify(ctx) {
		require.Equal(t, client.Equal, v.Outcome, "%+v", v)
	}
	require.NoError(t, f.Close()) // all is told
	require.Empty(t, f.verdicts[client.Drifted])
	require.Equal(t, want, b.consume(ctx, t, topic))
}

// consume reads committed records from the start of each partition to its end.
func (b *Broker) consume(ctx context.Context, t *testing.T, topic *topics.Topic) map[string]string {
	t.Helper()
	offsets, left := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, p := range topic.Partitions {
		offsets[p.Index] = kgo.NewOffset().At(0)
		left[p.Index] = p.Log.Bounds().LastStable
	}
	c, err := client.NewConsumer(client.ConsumerConfig{Brokers: []string{b.KafkaAddr().String()}, Options: []kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic.Name: offsets}), kgo.KeepControlRecords()}})
	require.NoError(t, err)
	defer c.Close()
	state := map[string]string{}
	for r, err := range c.Records(ctx) {
		require.NoError(t, err)
		if !r.Attrs.IsControl() {
			state[string(r.Key)] = string(r.Value)
		}
		if r.Offset+1 >= left[r.Partition] {
			delete(left, r.Partition)
		}
		if len(left) == 0 {
			break
		}
	}
	return state
}
