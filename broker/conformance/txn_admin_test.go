package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestTxnDescribe(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	require.Equal(t, int16(105), describeTxn(c, raw.TopicName(t)).ErrorCode)
	require.Equal(t, int16(42), describeTxn(c, "").ErrorCode)
	p := b.transactor(t, raw.TopicName(t)).init()
	d := describeTxn(c, p.txn)
	require.Zero(t, d.ErrorCode)
	require.Equal(t, p.txn, d.TransactionalID)
	require.Equal(t, "Empty", d.State)
	require.Equal(t, int32(60_000), d.TimeoutMillis)
	require.Equal(t, int64(-1), d.StartTimestamp)
	require.Equal(t, p.id, d.ProducerID)
	require.Equal(t, p.epoch, d.ProducerEpoch)
	require.Empty(t, d.Topics)
	before := time.Now().UnixMilli()
	p.produce(tp, 1, raw.KV("k", "v"))
	d = describeTxn(c, p.txn)
	require.Equal(t, "Ongoing", d.State)
	require.InDelta(t, before, d.StartTimestamp, 60_000)
	require.Len(t, d.Topics, 1)
	require.Equal(t, tp.Name, d.Topics[0].Topic)
	require.Equal(t, []int32{1}, d.Topics[0].Partitions)
	p.end(true)
	d = awaitState(c, p.txn, "CompleteCommit")
	require.Empty(t, d.Topics)
	require.Equal(t, p.epoch, d.ProducerEpoch)
}

func TestTxnList(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	open, idle := b.transactor(t, raw.TopicName(t)).init(), b.transactor(t, raw.TopicName(t)).init()
	open.produce(tp, 0, raw.KV("k", "v"))
	list := func(version int16, change func(*kmsg.ListTransactionsRequest)) (map[string]string, *kmsg.ListTransactionsResponse) {
		t.Helper()
		req := kmsg.NewPtrListTransactionsRequest()
		req.Version = version
		change(req)
		resp := raw.Do[*kmsg.ListTransactionsResponse](c, req)
		got := map[string]string{}
		for _, x := range resp.TransactionStates {
			if x.TransactionalID == open.txn || x.TransactionalID == idle.txn {
				got[x.TransactionalID] = x.TransactionState
				require.Equal(t, map[string]int64{open.txn: open.id, idle.txn: idle.id}[x.TransactionalID], x.ProducerID)
			}
		}
		return got, resp
	}
	both, onlyOpen := map[string]string{open.txn: "Ongoing", idle.txn: "Empty"}, map[string]string{open.txn: "Ongoing"}
	for v := range int16(3) {
		got, _ := list(v, func(*kmsg.ListTransactionsRequest) {})
		require.Equal(t, both, got, "v%d", v)
		got, resp := list(v, func(r *kmsg.ListTransactionsRequest) {
			r.StateFilters = []string{"Ongoing", "ongoing", "Nonsense", "Dead"}
		})
		require.Equal(t, onlyOpen, got)
		require.ElementsMatch(t, []string{"ongoing", "Nonsense"}, resp.UnknownStateFilters)
		got, _ = list(v, func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{open.id, 1 << 50} })
		require.Equal(t, onlyOpen, got)
		got, _ = list(v, func(r *kmsg.ListTransactionsRequest) {
			r.StateFilters, r.ProducerIDFilters = []string{"Ongoing"}, []int64{idle.id}
		})
		require.Empty(t, got, "all filters have to hold")
	}
	for v := int16(1); v <= 2; v++ {
		got, _ := list(v, func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 3_600_000 })
		require.Equal(t, map[string]string{idle.txn: "Empty"}, got, "one that never had a transaction counts from the beginning of time")
		got, _ = list(v, func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 1 << 50 })
		require.Empty(t, got)
		raw.Eventually(t, func() bool {
			got, _ := list(v, func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 1 })
			return len(got) == 2
		})
	}
	pattern := func(p string) (map[string]string, int16) {
		got, resp := list(2, func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &p })
		return got, resp.ErrorCode
	}
	got, _ := pattern(open.txn)
	require.Equal(t, onlyOpen, got)
	got, _ = pattern("TestTxnList-.*")
	require.Equal(t, both, got)
	got, _ = pattern("TestTxnList")
	require.Empty(t, got, "the whole name has to match")
	got, _ = pattern("")
	require.Equal(t, both, got)
	_, code := pattern("[")
	require.Equal(t, int16(128), code)
	open.end(false)
}

func TestDescribeProducers(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	p := b.transactor(t, raw.TopicName(t)).init()
	producers := func(name string, partition int32) kmsg.DescribeProducersResponseTopicPartition {
		t.Helper()
		req := kmsg.NewPtrDescribeProducersRequest()
		req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: []int32{partition}}}
		resp := raw.Do[*kmsg.DescribeProducersResponse](c, req)
		require.Len(t, resp.Topics, 1)
		require.Len(t, resp.Topics[0].Partitions, 1)
		return resp.Topics[0].Partitions[0]
	}
	require.Equal(t, int16(3), producers(tp.Name, 9).ErrorCode)
	require.Equal(t, int16(3), producers(raw.TopicName(t), 0).ErrorCode)
	require.Equal(t, int16(17), producers("..", 0).ErrorCode)
	require.Empty(t, producers(tp.Name, 0).ActiveProducers)
	raw.MustProduce(c, tp, raw.KV("k", "plain"))
	require.Empty(t, producers(tp.Name, 0).ActiveProducers, "a producer without an id is not remembered")
	p.produce(tp, 0, raw.KV("k", "v"), raw.KV("k", "w"))
	p.produce(tp, 0, raw.KV("k", "x"))
	got := producers(tp.Name, 0)
	require.Zero(t, got.ErrorCode)
	require.Len(t, got.ActiveProducers, 1)
	a := got.ActiveProducers[0]
	require.Equal(t, p.id, a.ProducerID)
	require.Equal(t, int32(p.epoch), a.ProducerEpoch)
	require.Equal(t, int32(2), a.LastSequence)
	require.Equal(t, int64(1), a.CurrentTxnStartOffset)
	require.Equal(t, int32(-1), a.CoordinatorEpoch)
	require.InDelta(t, time.Now().UnixMilli(), a.LastTimestamp, 60_000)
	p.end(true)
	awaitMarkers(c, tp, 0, 1)
	a = producers(tp.Name, 0).ActiveProducers[0]
	require.Equal(t, int32(p.epoch), a.ProducerEpoch)
	require.Equal(t, int32(-1), a.LastSequence, "sequences start anew with the epoch")
	require.Equal(t, int64(-1), a.CurrentTxnStartOffset)
	require.GreaterOrEqual(t, a.CoordinatorEpoch, int32(0))
}
