package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

const lists = "lists"

// recorder collects what the clients do and see.
type recorder struct {
	now func() int64

	mu      sync.Mutex
	history history
	acked   int
}

func (r *recorder) transaction(x transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.transactions = append(r.history.transactions, x)
	if x.outcome == committed {
		r.acked++
	}
}

func (r *recorder) committed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.acked
}

// worker is a client that runs one transaction after the other: it reads some lists and appends to some. When it does not know how one
// ended it begins anew, with the same transactional id, as a restarted application does.
type worker struct {
	t        *testing.T
	id, keys int
	addr     string
	old      bool // of before KIP-890
	rec      *recorder
	reader   *reader
	cl       *kgo.Client
	n        int
}

func (w *worker) run(ctx context.Context) {
	defer func() {
		if w.cl != nil {
			w.cl.Close()
		}
	}()
	for ctx.Err() == nil {
		w.read(ctx)
		w.transact(ctx)
	}
}

func (w *worker) client() *kgo.Client {
	if w.cl == nil {
		opts := []kgo.Opt{kgo.SeedBrokers(w.addr), kgo.TransactionalID(fmt.Sprintf("worker-%d", w.id)), kgo.TransactionTimeout(20 * time.Second),
			kgo.DefaultProduceTopic(lists), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.RetryTimeout(5 * time.Second),
			kgo.RecordDeliveryTimeout(5 * time.Second), kgo.RequestTimeoutOverhead(2 * time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond })}
		if w.old {
			opts = append(opts, kgo.MaxVersions(kversion.V3_9_0()))
		}
		cl, err := kgo.NewClient(opts...)
		require.NoError(w.t, err)
		w.cl = cl
	}
	return w.cl
}

// transact is one transaction, which is recorded with its outcome.
func (w *worker) transact(ctx context.Context) {
	cl := w.client()
	if err := cl.BeginTransaction(); err != nil {
		w.restart()
		return
	}
	x := transaction{client: w.id, began: w.rec.now(), outcome: unknown}
	for range 1 + rand.IntN(3) {
		key := int32(rand.IntN(w.keys))
		for range 1 + rand.IntN(2) {
			w.n++
			x.appends = append(x.appends, appendOp{key, fmt.Sprintf("%d-%d", w.id, w.n)})
		}
	}
	var mu sync.Mutex
	var failed error
	for _, a := range x.appends {
		cl.Produce(ctx, &kgo.Record{Partition: a.key, Value: []byte(a.value)}, func(_ *kgo.Record, err error) {
			mu.Lock()
			failed = errors.Join(failed, err)
			mu.Unlock()
		})
	}
	err := cl.Flush(ctx)
	mu.Lock()
	err = errors.Join(err, failed)
	mu.Unlock()
	patience := 30 * time.Second
	if rand.IntN(5) == 0 { // an application that is stopped before it knows
		patience = time.Duration(1+rand.IntN(30)) * time.Millisecond
	}
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch commit := kgo.TransactionEndTry(err == nil && rand.IntN(6) > 0); {
	case cl.EndTransaction(patient, commit) != nil:
		w.restart()
	case commit == kgo.TryCommit:
		x.outcome = committed
	default:
		x.outcome = aborted
	}
	x.ended = w.rec.now()
	w.rec.transaction(x)
}

func (w *worker) restart() {
	w.cl.Close()
	w.cl = nil
}

// read looks at some lists.
func (w *worker) read(ctx context.Context) {
	began := w.rec.now()
	lengths, err := w.reader.read(ctx)
	if err != nil {
		return // the broker is away
	}
	ended := w.rec.now()
	w.rec.mu.Lock()
	defer w.rec.mu.Unlock()
	for key, n := range lengths {
		w.rec.history.reads = append(w.rec.history.reads, read{w.id, key, n, began, ended})
	}
}

// reader reads committed values, list by list, from the beginning on.
type reader struct {
	cl    *kgo.Client
	lists map[int32][]string
	next  map[int32]int64
}

func newReader(t *testing.T, addr string, keys int) *reader {
	t.Helper()
	from := map[int32]kgo.Offset{}
	for i := range int32(keys) {
		from[i] = kgo.NewOffset().At(0)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{lists: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(50*time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }), kgo.MetadataMinAge(10*time.Millisecond))
	require.NoError(t, err)
	t.Cleanup(cl.Close)
	return &reader{cl: cl, lists: map[int32][]string{}, next: map[int32]int64{}}
}

// read reads on to where the last stable offsets are at this moment, and returns the lengths of the lists.
func (r *reader) read(ctx context.Context) (map[int32]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ends, err := kadm.NewClient(r.cl).ListCommittedOffsets(ctx, lists)
	if err != nil {
		return nil, err
	}
	if err := ends.Error(); err != nil {
		return nil, err
	}
	for {
		behind := false
		ends.Each(func(o kadm.ListedOffset) { behind = behind || r.next[o.Partition] < o.Offset })
		if !behind {
			break
		}
		fetches := r.cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(x *kgo.Record) {
			r.next[x.Partition] = x.Offset + 1
			if !x.Attrs.IsControl() {
				r.lists[x.Partition] = append(r.lists[x.Partition], string(x.Value))
			}
		})
	}
	lengths := map[int32]int{}
	ends.Each(func(o kadm.ListedOffset) { lengths[o.Partition] = len(r.lists[o.Partition]) })
	return lengths, nil
}
