package conformance_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// Up to v11 a partition has to be added before: 48, and from v11 on TRANSACTION_ABORTABLE.
func TestTxnProduceOutside(t *testing.T) {
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 2)
	p := b.transactor(t, raw.TopicName(t)).init()
	check := func(partition int32) {
		t.Helper()
		for v := int16(3); v <= 11; v++ {
			want := int16(48)
			if v == 11 {
				want = 120
			}
			require.Equal(t, want, p.tryProduce(v, tp, partition, raw.KV("k", "v")).ErrorCode, "v%d", v)
		}
	}
	check(0)
	p.add(tp, 0)
	check(1)
	for v := int16(3); v <= 11; v++ {
		answer := p.tryProduce(v, tp, 0, raw.KV("k", "v"))
		raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
		require.Equal(t, int64(v-3), answer.BaseOffset)
	}
	require.Zero(t, p.tryEnd(4, true).ErrorCode)
	awaitState(p.Conn, p.txn, "CompleteCommit")
	check(0)
}

// From v12 on the partition comes in with what is produced (KIP-890).
func TestTxnProduceAdds(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 3)
	p := b.transactor(t, raw.TopicName(t)).init()
	p.produce(tp, 2, raw.KV("k", "v"))
	d := describeTxn(c, p.txn)
	require.Equal(t, "Ongoing", d.State)
	require.Len(t, d.Topics, 1)
	require.Equal(t, []int32{2}, d.Topics[0].Partitions)
	answer := p.tryProduce(13, tp, 0, raw.KV("k", "v"))
	raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
	require.ElementsMatch(t, []int32{0, 2}, describeTxn(c, p.txn).Topics[0].Partitions)
	p.end(true)
	awaitMarkers(c, tp, 0, 1)
	awaitMarkers(c, tp, 2, 1)
	require.Empty(t, markers(c, tp, 1))
}

// A batch that was produced and not answered is not written twice, in a transaction as outside of one.
func TestTxnProduceRepeated(t *testing.T) {
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	req := raw.ProduceTo(tp, 0, 12, raw.Seal(p.batch(tp, 0, raw.KV("k", "v"))))
	req.TransactionID = &p.txn
	for range 3 {
		answer := raw.ProduceAs(p.Conn, req)
		raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
		require.Zero(t, answer.BaseOffset)
	}
	p.end(true)
	require.Equal(t, int64(1), awaitMarkers(p.Conn, tp, 0, 1)[0].offset)
}

// A partition that does not know the producer takes its batches from sequence 0 on only, where each transaction has an epoch of its own
// (KIP-890): when the first of several batches on their way is refused, the second one may not take its place.
func TestTxnProduceStartsAtZero(t *testing.T) {
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 1, "max.message.bytes", "1000")
	p := b.transactor(t, raw.TopicName(t)).init()
	first, second := p.batch(tp, 0, raw.KV("large", strings.Repeat("x", 2000))), p.batch(tp, 0, raw.KV("k", "2"))
	second.FirstSequence = 1
	for _, x := range []struct {
		batch kmsg.RecordBatch
		want  int16
	}{{first, 10}, {second, 45}, {p.batch(tp, 0, raw.KV("k", "1")), 0}, {second, 0}} {
		req := raw.ProduceTo(tp, 0, 12, raw.Seal(x.batch))
		req.TransactionID = &p.txn
		answer := raw.ProduceAs(p.Conn, req)
		raw.RequireCode(t, x.want, answer.ErrorCode, answer.ErrorMessage)
	}
	p.end(true)
	require.Equal(t, int64(2), awaitMarkers(p.Conn, tp, 0, 1)[0].offset)
}

func TestTxnProduceMalformed(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	for v := int16(9); v <= 13; v++ {
		require.Equal(t, int16(53), raw.ProduceAs(p.Conn, raw.ProduceTo(tp, 0, v, raw.Seal(p.batch(tp, 0, raw.KV("k", "v"))))).ErrorCode, "without a transactional id")
	}
	p.produce(tp, 0, raw.KV("k", "v"))
	plain := p.batch(tp, 0, raw.KV("k", "v"))
	plain.Attributes = 0
	require.Equal(t, int16(48), raw.ProduceAs(p.Conn, raw.ProduceTo(tp, 0, 9, raw.Seal(plain))).ErrorCode, "outside of the transaction that is open")
	control := p.batch(tp, 0, raw.KV("k", "v"))
	control.Attributes |= 0x20
	req := raw.ProduceTo(tp, 0, 12, raw.Seal(control))
	req.TransactionID = &p.txn
	require.NotZero(t, raw.ProduceAs(p.Conn, req).ErrorCode, "markers are not the client's to write")
	other := raw.NewBatch(raw.KV("k", "plain")) // a transactional id does not make a batch transactional
	req = raw.ProduceTo(tp, 0, 12, raw.Seal(other))
	req.TransactionID = &p.txn
	require.Zero(t, raw.ProduceAs(p.Conn, req).ErrorCode)
	p.end(false)
}

// Partitions are added together or not at all; the others are told 55.
func TestTxnAddPartitions(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	for version := range int16(6) {
		p := b.transactor(t, raw.TopicName(t)).init()
		require.Equal(t, map[int32]int16{0: 55, 1: 55, 9: 3}, p.tryAdd(version, tp, 0, 1, 9), "v%d", version)
		require.Equal(t, "Empty", describeTxn(c, p.txn).State)
		require.Equal(t, map[int32]int16{0: 0, 1: 0}, p.tryAdd(version, tp, 0, 1), "v%d", version)
		require.Equal(t, map[int32]int16{0: 0}, p.tryAdd(version, tp, 0), "v%d: again", version)
		d := describeTxn(c, p.txn)
		require.Equal(t, "Ongoing", d.State)
		require.ElementsMatch(t, []int32{0, 1}, d.Topics[0].Partitions)
		require.Equal(t, map[int32]int16{0: 3}, p.tryAdd(version, raw.Topic{Name: raw.TopicName(t)}, 0), "v%d", version)
		p.end(false)
	}
}

// From v4 on a request may be of several transactions, and may only ask.
func TestTxnAddPartitionsBatchedAndVerifyOnly(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	for version := int16(4); version <= 5; version++ {
		p, q := b.transactor(t, raw.TopicName(t)).init(), b.transactor(t, raw.TopicName(t)).init()
		req := p.addRequest(version, tp, 0)
		req.Transactions = append(req.Transactions, q.addRequest(version, tp, 1).Transactions[0])
		codes := func() map[string]int16 {
			got := map[string]int16{}
			for _, tx := range raw.Do[*kmsg.AddPartitionsToTxnResponse](p.Conn, req).Transactions {
				require.Len(t, tx.Topics, 1)
				require.Len(t, tx.Topics[0].Partitions, 1)
				got[tx.TransactionalID] = tx.Topics[0].Partitions[0].ErrorCode
			}
			return got
		}
		req.Transactions[0].VerifyOnly, req.Transactions[1].VerifyOnly = true, true
		require.Equal(t, map[string]int16{p.txn: 120, q.txn: 120}, codes())
		require.Equal(t, "Empty", describeTxn(c, p.txn).State, "asking adds nothing")
		req.Transactions[0].VerifyOnly = false
		require.Equal(t, map[string]int16{p.txn: 0, q.txn: 120}, codes())
		req.Transactions[0].VerifyOnly, req.Transactions[1].VerifyOnly = true, false
		require.Equal(t, map[string]int16{p.txn: 0, q.txn: 0}, codes())
		req.Transactions[0].ProducerEpoch++
		req.Transactions[1].ProducerID += 1_000_000
		require.Equal(t, map[string]int16{p.txn: 90, q.txn: 49}, codes())
		p.end(true)
		q.end(true)
	}
}
