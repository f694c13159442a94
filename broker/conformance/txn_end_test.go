package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A marker takes one offset, in every partition of the transaction, and the last stable offset is the first of the oldest that is open.
func TestTxnMarkersAndLastStable(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	first, second := b.transactor(t, raw.TopicName(t)).init(), b.transactor(t, raw.TopicName(t)).init()
	require.Zero(t, raw.MustProduce(c, tp, raw.KV("a", "plain")))
	require.Equal(t, int64(1), first.produce(tp, 0, raw.KV("a", "1"), raw.KV("b", "2")))
	require.Equal(t, int64(3), second.produce(tp, 0, raw.KV("c", "3")))
	require.Equal(t, int64(4), raw.MustProduce(c, tp, raw.KV("d", "plain")))
	require.Zero(t, first.produce(tp, 1, raw.KV("a", "1")))
	require.Equal(t, int64(1), stable(c, tp, 0, 0).LastStableOffset)
	id, epoch := first.id, first.epoch
	first.end(true)
	require.Equal(t, []marker{{5, id, epoch + 1, true}}, awaitMarkers(c, tp, 0, 1))
	require.Equal(t, []marker{{1, id, epoch + 1, true}}, awaitMarkers(c, tp, 1, 1))
	raw.Eventually(t, func() bool { return stable(c, tp, 0, 0).LastStableOffset == 3 })
	second.end(false)
	raw.Eventually(t, func() bool { return stable(c, tp, 0, 0).LastStableOffset == 7 })
	require.Equal(t, int64(7), raw.ListOffset(c, tp, 0, -1).Offset)
}

// Readers of committed records are told what to skip, in the order of the markers, and nobody else is.
func TestTxnAbortedList(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	first, second, third := b.transactor(t, raw.TopicName(t)).init(), b.transactor(t, raw.TopicName(t)).init(), b.transactor(t, raw.TopicName(t)).init()
	first.produce(tp, 0, raw.KV("a", "1"))
	second.produce(tp, 0, raw.KV("a", "2"))
	third.produce(tp, 0, raw.KV("a", "3"))
	second.end(false)
	awaitMarkers(c, tp, 0, 1)
	third.end(true)
	awaitMarkers(c, tp, 0, 2)
	first.end(false)
	awaitMarkers(c, tp, 0, 3)
	raw.Eventually(t, func() bool { return stable(c, tp, 0, 0).LastStableOffset == 6 })
	var aborted [][2]int64
	for _, x := range stable(c, tp, 0, 0).AbortedTransactions {
		aborted = append(aborted, [2]int64{x.ProducerID, x.FirstOffset})
	}
	require.Equal(t, [][2]int64{{second.id, 1}, {first.id, 0}}, aborted)
	require.Empty(t, raw.FetchAt(c, tp, 0).AbortedTransactions)
}

// Clients below EndTxn v5 keep their epoch and go on with their sequences, and a repeated end is answered as the first.
func TestTxnEndOlderVersions(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	for version := range int16(5) {
		tp := raw.CreateTopic(c, 1)
		p := b.transactor(t, raw.TopicName(t)).init()
		for i, commit := range []bool{true, false, true} {
			p.add(tp, 0)
			answer := p.tryProduce(min(version+7, 11), tp, 0, raw.KV("k", "v"))
			raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
			require.Zero(t, p.tryEnd(version, commit).ErrorCode)
			d := awaitState(c, p.txn, map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[commit])
			require.Equal(t, p.epoch, d.ProducerEpoch)
			require.Equal(t, marker{int64(2*i) + 1, p.id, p.epoch, commit}, awaitMarkers(c, tp, 0, i+1)[i])
			require.Zero(t, p.tryEnd(version, commit).ErrorCode, "repeated")
			require.Equal(t, int16(48), p.tryEnd(version, !commit).ErrorCode)
		}
	}
}

// EndTxn without a transaction: 48, and the producer's next epoch for an abort of v5, which a client sends that does not know.
func TestTxnEndWithoutTransaction(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	for version := range int16(6) {
		require.Equal(t, int16(48), p.tryEnd(version, true).ErrorCode, "v%d", version)
		if version < 5 {
			require.Equal(t, int16(48), p.tryEnd(version, false).ErrorCode, "v%d", version)
		}
	}
	resp := p.tryEnd(5, false)
	require.Zero(t, resp.ErrorCode)
	require.Equal(t, p.id, resp.ProducerID)
	require.Equal(t, p.epoch+1, resp.ProducerEpoch)
	awaitState(c, p.txn, "CompleteAbort")
	require.Equal(t, int16(48), p.tryEnd(5, true).ErrorCode, "what was aborted cannot be committed")
	p.epoch = resp.ProducerEpoch
	require.Equal(t, int16(48), p.tryEnd(5, true).ErrorCode)
	require.Equal(t, int16(48), p.tryEnd(4, true).ErrorCode)
	require.Zero(t, p.tryEnd(4, false).ErrorCode)
}

// EndTxn v5 (KIP-890) raises the epoch with every transaction, and a repeated one has the same answer.
func TestTxnEndRaisesTheEpoch(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	for i, commit := range []bool{true, false, true} {
		p.produce(tp, 0, raw.KV("k", "v"))
		old := *p
		old.Conn = b.Dial(t)
		p.end(commit)
		require.Equal(t, old.id, p.id)
		require.Equal(t, old.epoch+1, p.epoch)
		m := awaitMarkers(c, tp, 0, i+1)[i]
		require.Equal(t, commit, m.commit)
		require.Equal(t, p.epoch, m.epoch, "the marker has the next epoch")
		awaitState(c, p.txn, map[bool]string{true: "CompleteCommit", false: "CompleteAbort"}[commit])
		again := old.tryEnd(5, commit)
		require.Zero(t, again.ErrorCode)
		require.Equal(t, [2]int64{p.id, int64(p.epoch)}, [2]int64{again.ProducerID, int64(again.ProducerEpoch)})
		require.Equal(t, int16(48), old.tryEnd(5, !commit).ErrorCode)
		require.Equal(t, int16(90), old.tryEnd(4, commit).ErrorCode)
		require.Equal(t, int16(47), old.tryProduce(12, tp, 0, raw.KV("k", "late")).ErrorCode, "late requests are of another epoch")
	}
	// A repeated end of the transaction before does not end the next one.
	p.produce(tp, 0, raw.KV("k", "v"))
	late := *p
	late.Conn, late.epoch = b.Dial(t), p.epoch-1
	require.Equal(t, int16(90), late.tryEnd(5, true).ErrorCode)
	require.Equal(t, "Ongoing", describeTxn(c, p.txn).State)
	p.end(true)
}

// A topic that is deleted takes its part of the transaction with it; the rest is committed.
func TestTxnTopicDeleted(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	gone, stays := raw.CreateTopic(c, 1), raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	p.produce(gone, 0, raw.KV("k", "v"))
	p.produce(stays, 0, raw.KV("k", "v"))
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis = 6, 10_000
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &gone.Name}}
	require.Zero(t, raw.Do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode)
	raw.Eventually(t, func() bool { return raw.DescribeTopic(c, gone.Name).ErrorCode == 3 })
	p.end(true)
	awaitMarkers(c, stays, 0, 1)
	raw.Eventually(t, func() bool { return stable(c, stays, 0, 0).LastStableOffset == 2 })
	awaitState(c, p.txn, "CompleteCommit")

	// One of the same name has nothing to do with it.
	p.produce(stays, 0, raw.KV("k", "v"))
	again := raw.CreateNamed(c, gone.Name, 1)
	p.end(true)
	awaitMarkers(c, stays, 0, 2)
	require.Empty(t, markers(c, again, 0))
	p.produce(again, 0, raw.KV("k", "v"))
	p.end(true)
	awaitMarkers(c, again, 0, 1)
}
