package crash

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	workers = 4
	keys    = 3
)

// Clients append to lists in transactions while the broker is killed, answers are lost and requests come late: no transaction is lost,
// torn, doubled or reordered, and nothing of an aborted one is read.
func TestListAppend(t *testing.T) {
	cycles := number(t, "KEYFRAME_TXN_CYCLES", 4)
	n := startNode(t, broker(t))
	h := listAppend(t, n, cycles, false, faults{lose: 0.05, delay: 0.1, late: 0.1})
	require.Empty(t, h.check())
	require.Greater(t, len(h.transactions), 50*cycles, "the load was too small to prove anything")
	n.verify()
}

// Clients of before KIP-890, which add partitions themselves and keep their epoch: their requests are not told apart by the epoch, so
// none comes late, but answers are lost.
func TestListAppendOldClients(t *testing.T) {
	cycles := number(t, "KEYFRAME_TXN_CYCLES", 2)
	n := startNode(t, broker(t))
	h := listAppend(t, n, cycles, true, faults{lose: 0.05, delay: 0.1})
	require.Empty(t, h.check())
	require.Greater(t, len(h.transactions), 30*cycles, "the load was too small to prove anything")
}

// listAppend runs the load over so many lives of the broker, each killed in the middle of it, and returns the history.
func listAppend(t *testing.T, n *node, cycles int, old bool, f faults) *history {
	t.Helper()
	createTopic(t, n.proxy.addr(), lists, keys)
	n.proxy.setFaults(f)
	rec := &recorder{now: clock(time.Now())}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for id := range workers {
		w := &worker{t: t, id: id, keys: keys, addr: n.proxy.addr(), old: old, rec: rec, reader: newReader(t, n.proxy.addr(), keys)}
		rec.history.views = append(rec.history.views, w.reader.lists)
		running.Go(func() { w.run(ctx) })
	}
	for cycle := range cycles {
		before := rec.committed()
		eventually(t, func() bool { return rec.committed() >= before+40+10*(cycle%5) })
		n.kill()
		n.start()
	}
	before := rec.committed()
	eventually(t, func() bool { return rec.committed() >= before+20 })
	n.proxy.setFaults(faults{})
	stop()
	running.Wait()
	n.kill()
	n.start()
	hanging := settle(t, n.proxy.addr(), old)
	final := newReader(t, n.proxy.addr(), keys)
	eventually(t, func() bool {
		_, err := final.read(t.Context())
		return err == nil
	})
	h := &rec.history
	h.final, h.hanging = final.lists, hanging
	t.Logf("%d kills, %d transactions, %d committed for sure, %d reads; %+v", cycles, len(h.transactions), rec.acked, len(h.reads), n.proxy.met())
	return h
}

// settle ends what the workers left open, as their next instances would, and returns the partitions whose last stable offset is held all
// the same.
func settle(t *testing.T, addr string, old bool) (hanging []int32) {
	t.Helper()
	for id := range workers {
		w := &worker{t: t, id: id, addr: addr, old: old}
		eventually(t, func() bool {
			defer w.restart()
			_, _, err := w.client().ProducerID(t.Context())
			return err == nil
		})
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	stable, err := admin.ListCommittedOffsets(t.Context(), lists)
	require.NoError(t, err)
	ends, err := admin.ListEndOffsets(t.Context(), lists)
	require.NoError(t, err)
	ends.Each(func(o kadm.ListedOffset) {
		if at, _ := stable.Lookup(lists, o.Partition); at.Offset != o.Offset {
			hanging = append(hanging, o.Partition)
		}
	})
	return hanging
}

func createTopic(t *testing.T, addr, name string, partitions int32) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	_, err = kadm.NewClient(cl).CreateTopic(t.Context(), partitions, 1, nil, name)
	require.NoError(t, err)
}

func eventually(t *testing.T, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, 2*time.Minute, 5*time.Millisecond)
}
