package crash

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const etlPartitions = 4

// Records go from one topic to another through the transactions of a group's members, with their offsets, while members come and go, the
// broker is killed and answers are lost: each arrives once, in its order.
func TestETL(t *testing.T) {
	records := number(t, "KEYFRAME_ETL_RECORDS", 5_000)
	n := startNode(t, broker(t))
	createTopic(t, n.proxy.addr(), "in", etlPartitions)
	createTopic(t, n.proxy.addr(), "out", etlPartitions)
	n.proxy.setFaults(faults{lose: 0.02, delay: 0.05, late: 0.02})
	began := time.Now()
	e := &etl{t: t, addr: n.proxy.addr()}
	for id := range 3 {
		e.start(id)
	}
	out := newCounter(t, n.proxy.addr())
	kills, moves, loaded := 0, 0, 0
	steps := 4 + records/50_000 // between two of them something happens
	for step := 1; out.total < records; step++ {
		next := min(records, (step+1)*records/steps) // some are under way when it happens, and some are to come, however fast they arrive
		load(t, n.proxy.addr(), loaded, next)
		loaded = next
		goal := min(records, step*records/steps)
		out.readUntil(goal)
		if out.total >= records {
			break
		}
		switch step % 2 {
		case 0:
			n.kill()
			n.start()
			kills++
		default: // a rebalance: one goes, and another comes in its place, with its transactional id
			e.stop(moves % 3)
			e.start(moves % 3)
			moves++
		}
	}
	took := time.Since(began)
	for id := range 3 {
		e.stop(id)
	}
	n.proxy.setFaults(faults{})
	requireGroupAtEnd(t, n.proxy.addr(), records)
	t.Logf("%d records in %v, %d kills, %d members replaced, %d transactions committed, %d aborted; %+v", records, took.Round(time.Millisecond), kills, moves,
		e.committed, e.aborted, n.proxy.met())
	require.Positive(t, kills)
	require.Positive(t, moves)
}

// load writes records [from, to): their numbers, partition by partition.
func load(t *testing.T, addr string, from, to int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("in"))
	require.NoError(t, err)
	defer cl.Close()
	var mu sync.Mutex
	var failed error
	for i := from; i < to; i++ {
		r := &kgo.Record{Partition: int32(i % etlPartitions), Value: []byte(strconv.Itoa(i / etlPartitions))}
		cl.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		})
	}
	require.NoError(t, cl.Flush(t.Context()))
	require.NoError(t, failed)
}

// etl is the group of those who transform.
type etl struct {
	t       *testing.T
	addr    string
	members [3]struct {
		stop context.CancelFunc
		done chan struct{}
	}

	mu                 sync.Mutex
	committed, aborted int
}

func (e *etl) start(id int) {
	ctx, cancel := context.WithCancel(e.t.Context())
	done := make(chan struct{})
	e.members[id].stop, e.members[id].done = cancel, done
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			e.session(ctx, id)
		}
	}()
}

func (e *etl) stop(id int) {
	e.members[id].stop()
	<-e.members[id].done
}

// session is one life of a member: until it is stopped, or does not know how to go on.
func (e *etl) session(ctx context.Context, id int) {
	s, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(e.addr), kgo.TransactionalID(fmt.Sprintf("etl-%d", id)), kgo.ConsumerGroup("etl"), kgo.ConsumeTopics("in"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.TransactionTimeout(20*time.Second),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(200*time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DefaultProduceTopic("out"), kgo.ProducerLinger(0), kgo.RetryTimeout(5*time.Second), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	if err != nil {
		e.t.Error(err)
		return
	}
	defer s.Close()
	for {
		fetches := s.PollRecords(ctx, 500)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		if fetches.NumRecords() == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			return
		}
		var mu sync.Mutex
		var failed error
		fetches.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Partition: r.Partition, Value: append([]byte("x"), r.Value...)}, func(_ *kgo.Record, err error) {
				mu.Lock()
				failed = errors.Join(failed, err)
				mu.Unlock()
			})
		})
		err := s.Client().Flush(ctx)
		mu.Lock()
		commit := kgo.TransactionEndTry(err == nil && failed == nil)
		mu.Unlock()
		done, err := s.End(context.WithoutCancel(ctx), commit)
		if err != nil {
			return
		}
		e.mu.Lock()
		if done {
			e.committed++
		} else {
			e.aborted++
		}
		e.mu.Unlock()
	}
}

// counter reads what has arrived, and checks that each partition's numbers come one after the other.
type counter struct {
	t     *testing.T
	cl    *kgo.Client
	next  [etlPartitions]int
	total int
}

func newCounter(t *testing.T, addr string) *counter {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(100*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return &counter{t: t, cl: cl}
}

// readUntil reads until so many records have arrived.
func (c *counter) readUntil(goal int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Minute)
	defer cancel()
	for c.total < goal {
		fetches := c.cl.PollFetches(ctx)
		require.NoError(c.t, ctx.Err(), "%d records of %d have arrived: %v", c.total, goal, c.next)
		fetches.EachRecord(func(r *kgo.Record) {
			require.Equal(c.t, "x"+strconv.Itoa(c.next[r.Partition]), string(r.Value), "partition %d, offset %d", r.Partition, r.Offset)
			c.next[r.Partition]++
			c.total++
		})
	}
}

// requireGroupAtEnd: the offsets that were committed are the end of what was read, and nothing came behind the last record.
func requireGroupAtEnd(t *testing.T, addr string, records int) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	eventually(t, func() bool {
		offsets, err := admin.FetchOffsets(t.Context(), "etl")
		if err != nil {
			return false
		}
		sum := int64(0)
		offsets.Each(func(o kadm.OffsetResponse) { sum += o.At })
		return sum == int64(records)
	})
	out := newCounter(t, addr)
	out.readUntil(records)
	for i, n := range out.next {
		want := records / etlPartitions
		if i < records%etlPartitions {
			want++
		}
		require.Equal(t, want, n, strings.Join([]string{"partition", strconv.Itoa(i)}, " "))
	}
}
