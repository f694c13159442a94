package broker_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// etlRecordsEnv is how many records go through the ETL; 500000 is the figure that is promised.
const etlRecordsEnv = "KEYFRAME_TEST_ETL_RECORDS"

const (
	etlStages     = 3
	etlPartitions = 8
	etlChanges    = 9 // of the workers of every stage
)

// Records go through three stages, each a consumer group that writes what it read to the next topic, while workers come and go. A worker
// commits what it has written before it lets a rebalance take partitions, so nothing may be lost, doubled or out of order; also while
// the workers of a group change from the classic protocol to the new one and back.
func TestGroupETL(t *testing.T) {
	records := 20_000
	if s := os.Getenv(etlRecordsEnv); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, etlRecordsEnv)
		records = n
	}
	eager := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}
	cooperative := []kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}
	uniform := []kgo.Opt{kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer()}
	ranges := []kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()}
	toNewAndBack := []string{"classic", "consumer", "classic", "consumer"}
	for _, mode := range []struct {
		name    string
		workers [][]kgo.Opt // of the first worker, the second, and so on
		types   []string    // that the groups have on the way
	}{
		{"classic eager", [][]kgo.Opt{eager}, []string{"classic"}},
		{"classic cooperative", [][]kgo.Opt{cooperative}, []string{"classic"}},
		{"new uniform", [][]kgo.Opt{uniform}, []string{"consumer"}},
		{"new range", [][]kgo.Opt{ranges}, []string{"consumer"}},
		{"eager to new and back", [][]kgo.Opt{eager, uniform, eager, eager}, toNewAndBack},
		{"cooperative to new and back", [][]kgo.Opt{cooperative, ranges, cooperative, cooperative}, toNewAndBack},
	} {
		t.Run(mode.name, func(t *testing.T) {
			e := &etl{t: t, broker: startBroker(t), records: records, workers: mode.workers}
			began := time.Now()
			e.run()
			t.Logf("%d records through %d stages with %d changes of workers in %v; the groups were %v", records, etlStages, etlStages*etlChanges,
				time.Since(began).Round(time.Millisecond), e.types)
			require.Equal(t, mode.types, e.types)
		})
	}
}

type etl struct {
	t       *testing.T
	broker  raw.Broker
	records int
	workers [][]kgo.Opt
	types   []string // of the groups, one after the other
}

func stageTopic(stage int) string { return fmt.Sprintf("stage-%d", stage) }

// run lets the records through in portions. With each a worker of each stage comes, or the oldest goes.
func (e *etl) run() {
	ctx, cancel := context.WithTimeout(e.t.Context(), 10*time.Minute)
	defer cancel()
	for stage := range etlStages + 1 {
		raw.CreateNamed(e.broker.Dial(e.t), stageTopic(stage), etlPartitions)
	}
	stages := make([]*etlStage, etlStages)
	for i := range stages {
		stages[i] = &etlStage{etl: e, number: i}
		defer stages[i].stop()
	}
	feeder := e.client()
	defer feeder.Close()
	reader := e.client(kgo.ConsumeTopics(stageTopic(etlStages)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer reader.Close()
	next, fed := make([]uint64, etlPartitions), 0
	for change := range etlChanges {
		upto := e.records * (change + 1) / etlChanges
		e.feed(ctx, feeder, fed, upto)
		for _, s := range stages {
			s.change(change)
		}
		e.check(ctx, reader, next, upto-fed)
		fed = upto
		for _, s := range stages {
			s.settled(ctx)
		}
		e.note(feeder)
	}
}

func (e *etl) client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(e.broker.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.FetchMaxWait(50*time.Millisecond), kgo.MetadataMinAge(50*time.Millisecond))...)
	require.NoError(e.t, err)
	return c
}

// feed writes the numbers [from, to); each partition has its own in their order.
func (e *etl) feed(ctx context.Context, c *kgo.Client, from, to int) {
	for n := from; n < to; n++ {
		r := &kgo.Record{Topic: stageTopic(0), Partition: int32(n % etlPartitions), Value: binary.BigEndian.AppendUint64(nil, uint64(n/etlPartitions))}
		c.Produce(ctx, r, nil)
	}
	require.NoError(e.t, c.Flush(ctx))
}

// check reads that many records of the last topic: each partition's numbers, each once, in their order.
func (e *etl) check(ctx context.Context, c *kgo.Client, next []uint64, count int) {
	for seen := 0; seen < count; {
		fetches := c.PollFetches(ctx)
		require.NoError(e.t, fetches.Err0(), "after %d records of %d", seen, count)
		fetches.EachRecord(func(r *kgo.Record) {
			require.Equal(e.t, next[r.Partition], binary.BigEndian.Uint64(r.Value), "partition %d", r.Partition)
			next[r.Partition]++
			seen++
		})
		require.LessOrEqual(e.t, seen, count)
	}
}

// note looks at the type of the groups, which is the same for all.
func (e *etl) note(c *kgo.Client) {
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(e.t.Context(), c)
	require.NoError(e.t, err)
	require.Len(e.t, resp.Groups, etlStages)
	now := resp.Groups[0].GroupType
	for _, g := range resp.Groups {
		require.Equal(e.t, now, g.GroupType, g.Group)
	}
	if len(e.types) == 0 || e.types[len(e.types)-1] != now {
		e.types = append(e.types, now)
	}
}

// etlStage is one consumer group and its workers.
type etlStage struct {
	*etl
	number int
	hired  int
	team   []*etlWorker // the oldest first
}

// change is every third time the end of the oldest worker, else a new one.
func (s *etlStage) change(n int) {
	if n%3 == 2 {
		s.team[0].stop()
		s.team = s.team[1:]
		return
	}
	s.team = append(s.team, s.hire())
}

// settled waits until every worker has partitions.
func (s *etlStage) settled(ctx context.Context) {
	for _, w := range s.team {
		select {
		case <-w.assigned:
		case <-ctx.Done():
			require.Fail(s.t, "a worker was never given a partition", "stage %d", s.number)
		}
	}
}

func (s *etlStage) stop() {
	for _, w := range s.team {
		w.stop()
	}
}

type etlWorker struct {
	client   *kgo.Client
	cancel   context.CancelFunc
	assigned chan struct{} // closed when it was given the first partition
	ended    chan struct{}
}

func (s *etlStage) hire() *etlWorker {
	ctx, cancel := context.WithCancel(context.Background())
	opts := s.workers[s.hired%len(s.workers)]
	s.hired++
	w := &etlWorker{cancel: cancel, assigned: make(chan struct{}), ended: make(chan struct{})}
	var once sync.Once
	w.client = s.client(append([]kgo.Opt{
		kgo.ConsumerGroup(fmt.Sprintf("group-%d", s.number)), kgo.ConsumeTopics(stageTopic(s.number)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.HeartbeatInterval(50 * time.Millisecond), kgo.RebalanceTimeout(20 * time.Second),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			if len(got) > 0 {
				once.Do(func() { close(w.assigned) })
			}
		}),
	}, opts...)...)
	go func() {
		defer close(w.ended)
		s.work(ctx, w.client)
	}()
	return w
}

func (w *etlWorker) stop() {
	w.cancel()
	<-w.ended
	w.client.CloseAllowingRebalance()
}

// work takes what there is, writes it to the next topic, commits, and only then lets a rebalance happen.
func (s *etlStage) work(ctx context.Context, c *kgo.Client) {
	for ctx.Err() == nil {
		records := c.PollRecords(ctx, 2000).Records()
		if len(records) > 0 {
			out := make([]*kgo.Record, len(records))
			for i, r := range records {
				out[i] = &kgo.Record{Topic: stageTopic(s.number + 1), Partition: r.Partition, Value: r.Value}
			}
			// What was begun is ended, also by a worker that is told to stop.
			if err := c.ProduceSync(context.WithoutCancel(ctx), out...).FirstErr(); err != nil {
				s.t.Errorf("stage %d: produce: %v", s.number, err)
			}
			if err := c.CommitRecords(context.WithoutCancel(ctx), records...); err != nil {
				s.t.Errorf("stage %d: commit: %v", s.number, err)
			}
		}
		c.AllowRebalance()
	}
}
