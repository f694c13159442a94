package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// tryInit asks for an epoch as the producer with the id and epoch; -1, -1 starts.
func (p *transactor) tryInit(version int16, id int64, epoch int16) *kmsg.InitProducerIDResponse {
	p.T.Helper()
	req := p.initRequest(version)
	req.ProducerID, req.ProducerEpoch = id, epoch
	return raw.Do[*kmsg.InitProducerIDResponse](p.Conn, req)
}

// ended is the producer after its transaction, open still, was aborted by somebody else.
func (b *broker) fenced(t *testing.T, tp raw.Topic) (old, now *transactor) {
	t.Helper()
	old = b.transactor(t, raw.TopicName(t)).init()
	old.produce(tp, 0, raw.KV("k", "v"))
	return old, b.transactor(t, old.txn).init()
}

func TestTxnInitAllVersions(t *testing.T) {
	b := start(t)
	for version := range int16(6) {
		p := b.transactor(t, raw.TopicName(t)).init() // waits for the coordinator
		resp := p.tryInit(version, -1, -1)
		require.Zero(t, resp.ErrorCode, "v%d", version)
		require.Equal(t, p.id, resp.ProducerID)
		require.Equal(t, p.epoch+1, resp.ProducerEpoch, "every start fences the one before")
	}
}

func TestTxnInitRefused(t *testing.T) {
	b := start(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	for _, ms := range []int32{0, -1, 900_001} {
		p.timeoutMs = ms
		require.Equal(t, int16(50), p.tryInit(4, -1, -1).ErrorCode, "transaction.max.timeout.ms: %d", ms)
	}
	p.timeoutMs = 900_000
	require.Zero(t, p.tryInit(4, -1, -1).ErrorCode)
	require.Equal(t, int16(42), p.tryInit(4, p.id, -1).ErrorCode)
	require.Equal(t, int16(42), p.tryInit(4, -1, 3).ErrorCode)
	p.txn = ""
	resp := p.tryInit(4, -1, -1)
	require.Equal(t, int16(42), resp.ErrorCode)
	require.Equal(t, int64(-1), resp.ProducerID)
	require.Equal(t, int16(-1), resp.ProducerEpoch)
}

// KIP-360: a producer that names its id and epoch goes on with the next epoch, and may repeat itself.
func TestTxnInitRecovers(t *testing.T) {
	b := start(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	p.txn = raw.TopicName(t)
	fresh := p.tryInit(4, 123_456, 7)
	require.Zero(t, fresh.ErrorCode, "a producer id for a new transactional id is accepted")
	require.NotEqual(t, int64(123_456), fresh.ProducerID)
	require.Zero(t, fresh.ProducerEpoch)
	id := fresh.ProducerID
	for range 2 {
		resp := p.tryInit(4, id, 0)
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, int16(1), resp.ProducerEpoch, "repeated")
	}
	require.Equal(t, int16(2), p.tryInit(4, id, 1).ProducerEpoch)
	require.Equal(t, int16(90), p.tryInit(4, id, 0).ErrorCode)
	require.Equal(t, int16(47), p.tryInit(3, id, 0).ErrorCode, "KIP-588")
	require.Equal(t, int16(90), p.tryInit(4, id+1_000_000, 2).ErrorCode)
	require.Equal(t, int16(47), p.tryInit(3, id+1_000_000, 2).ErrorCode)
	require.Equal(t, int16(3), p.tryInit(4, -1, -1).ProducerEpoch, "another instance")
	require.Equal(t, int16(90), p.tryInit(4, id, 2).ErrorCode, "is not to be fenced by the one before")
}

// A second instance aborts what the first left open, and is asked to come again while that is under way.
func TestTxnInitAbortsAndFences(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	old := b.transactor(t, raw.TopicName(t)).init()
	old.produce(tp, 0, raw.KV("k", "v"))
	now := b.transactor(t, old.txn)
	require.Equal(t, int16(51), now.tryInit(4, -1, -1).ErrorCode)
	now.init()
	require.Equal(t, old.id, now.id)
	require.Equal(t, old.epoch+2, now.epoch, "one for the marker, one for the new instance")
	m := awaitMarkers(c, tp, 0, 1)
	require.Len(t, m, 1)
	require.False(t, m[0].commit)
	require.Equal(t, old.epoch+1, m[0].epoch)

	// The producer that has a transaction open recovers in the same way.
	now.produce(tp, 0, raw.KV("k", "w"))
	require.Equal(t, int16(51), now.tryInit(4, now.id, now.epoch).ErrorCode)
	require.Eventually(t, func() bool {
		resp := now.tryInit(4, now.id, now.epoch)
		return resp.ErrorCode == 0 && resp.ProducerEpoch == now.epoch+1
	}, time.Minute, 5*time.Millisecond)
}

// While a transaction is open, a producer that recovers is known by its id: whichever epoch it names, the transaction is aborted, and only
// then the epoch decides who goes on. Another producer id leaves it alone.
func TestTxnInitWithStaleEpoch(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	for version := int16(3); version <= 5; version++ {
		fenced := int16(90)
		if version < 4 {
			fenced = 47 // KIP-588
		}
		for _, off := range []int16{-2, -1, 1, 5} {
			p := b.transactor(t, raw.TopicName(t)).init().init().init()
			if version == 5 { // however the partition came in
				p.produce(tp, 0, raw.KV("k", "v"))
			} else {
				p.add(tp, 0)
				require.Zero(t, p.tryProduce(11, tp, 0, raw.KV("k", "v")).ErrorCode)
			}
			require.Equal(t, fenced, p.tryInit(version, p.id+1_000_000, p.epoch).ErrorCode)
			require.Equal(t, "Ongoing", describeTxn(c, p.txn).State)
			end := stable(c, tp, 0, 0).HighWatermark

			resp := p.tryInit(version, p.id, p.epoch+off)
			require.Equal(t, int16(51), resp.ErrorCode, "v%d, %+d", version, off)
			require.Equal(t, [2]int64{-1, -1}, [2]int64{resp.ProducerID, int64(resp.ProducerEpoch)})
			d := awaitState(c, p.txn, "CompleteAbort")
			require.Equal(t, p.epoch+1, d.ProducerEpoch)
			all := markers(c, tp, 0)
			require.Equal(t, marker{end, p.id, p.epoch + 1, false}, all[len(all)-1])

			if off != 1 { // that is the producer's epoch now
				require.Equal(t, fenced, p.tryInit(version, p.id, p.epoch+off).ErrorCode)
			}
			require.Equal(t, int16(90), p.tryEnd(4, true).ErrorCode, "it is told")
			resp = p.tryInit(version, p.id, p.epoch)
			require.Zero(t, resp.ErrorCode, "and goes on, since nobody came in between")
			require.Equal(t, p.epoch+1, resp.ProducerEpoch)
		}
	}
}

// Versions of before KIP-588 are told INVALID_PRODUCER_EPOCH in place of PRODUCER_FENCED.
func TestTxnFencedByVersion(t *testing.T) {
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	old, now := b.fenced(t, tp)
	group := raw.TopicName(t)
	fenced := func(version, since int16) int16 {
		if version < since {
			return 47
		}
		return 90
	}
	ahead := *now
	ahead.Conn, ahead.epoch = b.Dial(t), now.epoch+1 // Kafka fences what it does not know, too
	for _, p := range []*transactor{old, &ahead} {
		for v := range int16(6) {
			require.Equal(t, fenced(v, 2), p.tryEnd(v, true).ErrorCode, "EndTxn v%d", v)
			require.Equal(t, map[int32]int16{0: fenced(v, 2)}, p.tryAdd(v, tp, 0), "AddPartitionsToTxn v%d", v)
			require.Equal(t, int16(47), p.tryCommit(v, group, tp, 0, 1), "TxnOffsetCommit v%d", v)
		}
		for v := range int16(5) {
			require.Equal(t, fenced(v, 2), p.tryAddOffsets(v, group), "AddOffsetsToTxn v%d", v)
		}
		for v := int16(3); v <= 13; v++ {
			require.Equal(t, int16(47), p.tryProduce(v, tp, 0, raw.KV("k", "v")).ErrorCode, "Produce v%d: 47 and not 48", v)
		}
	}
}

func TestTxnUnknownProducer(t *testing.T) {
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	group := raw.TopicName(t)
	check := func(want int16) {
		t.Helper()
		for _, v := range []int16{4, 5} {
			require.Equal(t, want, p.tryEnd(v, true).ErrorCode)
			require.Equal(t, want, p.tryCommit(v, group, tp, 0, 1))
		}
		require.Equal(t, map[int32]int16{0: want}, p.tryAdd(3, tp, 0))
		require.Equal(t, want, p.tryAddOffsets(3, group))
		for v := int16(10); v <= 13; v++ {
			require.Equal(t, want, p.tryProduce(v, tp, 0, raw.KV("k", "v")).ErrorCode, "Produce v%d", v)
		}
	}
	id := p.id
	p.id += 1_000_000
	check(49)
	p.id, p.txn = id, raw.TopicName(t)
	check(49)
	p.txn = ""
	check(42)
}

// A transaction that takes longer than its time-out is aborted, and its producer is fenced; Kafka looks every ten seconds.
func TestTxnTimeout(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	p := b.transactor(t, raw.TopicName(t))
	p.timeoutMs = 100
	p.init()
	p.produce(tp, 0, raw.KV("k", "v"))
	d := awaitState(c, p.txn, "CompleteAbort")
	require.Equal(t, p.epoch+1, d.ProducerEpoch)
	require.Equal(t, int32(100), d.TimeoutMillis)
	m := awaitMarkers(c, tp, 0, 1)
	require.False(t, m[0].commit)
	require.Equal(t, p.epoch+1, m[0].epoch)
	require.Equal(t, int16(47), p.tryProduce(12, tp, 0, raw.KV("k", "v")).ErrorCode)
	require.Equal(t, int16(90), p.tryEnd(4, true).ErrorCode)
	require.Equal(t, int16(90), p.tryEnd(4, false).ErrorCode)
	require.Equal(t, int16(48), p.tryEnd(5, true).ErrorCode, "what was aborted cannot be committed")
	require.Zero(t, p.tryEnd(5, false).ErrorCode, "an abort is what happened")
	resp := p.tryInit(4, p.id, p.epoch)
	require.Zero(t, resp.ErrorCode, "it may go on, if nobody has come in between")
	require.Equal(t, p.epoch+1, resp.ProducerEpoch)
}

// The last epoch of a producer id is left to fence it; who has used up the one before gets another producer id.
func TestTxnEpochsUsedUp(t *testing.T) {
	const lastEpoch = 32766
	b := start(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	p := b.transactor(t, raw.TopicName(t)).init()
	useUp := func() {
		t.Helper()
		// Many requests at a time: the answers come in their order.
		id, epoch := p.id, p.epoch
		for epoch < lastEpoch {
			n := min(lastEpoch-int(epoch), 500)
			var frames []byte
			for i := range n {
				frames = append(frames, kmsg.NewRequestFormatter().AppendRequest(nil, p.initRequest(4), int32(i))...)
			}
			_, err := p.Write(frames)
			require.NoError(t, err)
			for range n {
				resp, _ := p.Receive(p.initRequest(4))
				got := resp.(*kmsg.InitProducerIDResponse)
				require.Zero(t, got.ErrorCode)
				require.Equal(t, id, got.ProducerID)
				epoch++
				require.Equal(t, epoch, got.ProducerEpoch)
			}
		}
		p.became(id, epoch)
	}
	require.NoError(t, p.SetDeadline(time.Now().Add(5*time.Minute)))
	useUp()
	c, old := b.Dial(t), *p // only now: that took its time
	old.Conn = b.Dial(t)
	p.produce(tp, 0, raw.KV("k", "v"))
	p.end(true)
	require.NotEqual(t, old.id, p.id)
	require.Zero(t, p.epoch)
	require.Equal(t, marker{1, old.id, lastEpoch + 1, true}, awaitMarkers(c, tp, 0, 1)[0], "the marker is of the old producer id")
	awaitState(c, p.txn, "CompleteCommit")
	again := old.tryEnd(5, true)
	require.Zero(t, again.ErrorCode)
	require.Equal(t, [2]int64{p.id, 0}, [2]int64{again.ProducerID, int64(again.ProducerEpoch)}, "repeated")
	require.Equal(t, int16(48), old.tryEnd(5, false).ErrorCode)
	require.NotZero(t, old.tryProduce(12, tp, 0, raw.KV("k", "late")).ErrorCode)
	p.produce(tp, 0, raw.KV("k", "w"))
	p.end(false)
	require.Equal(t, int16(1), p.epoch)
}
