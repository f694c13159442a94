package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestFetchAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	raw.MustProduce(c, tp, raw.KV("c", "3"))
	for version := int16(4); version <= 18; version++ {
		p := raw.FetchAs(c, raw.FetchFrom(tp, 0, version))
		require.Zero(t, p.ErrorCode)
		require.Equal(t, int64(3), p.HighWatermark)
		require.Equal(t, int64(3), p.LastStableOffset)
		batches := raw.BatchesOf(c, p.RecordBatches)
		require.Len(t, batches, 2, "v%d", version)
		require.Equal(t, int64(2), batches[1].FirstOffset)
	}
}

func TestFetchInsideABatchReturnsTheWholeBatch(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"), raw.KV("c", "3"))
	batches := raw.BatchesOf(c, raw.FetchAt(c, tp, 2).RecordBatches)
	require.Len(t, batches, 1)
	require.Equal(t, int64(0), batches[0].FirstOffset)
}

func TestFetchAtTheEndIsEmptyAndBeyondIsOutOfRange(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	p := raw.FetchAt(c, tp, 1)
	require.Zero(t, p.ErrorCode)
	require.Empty(t, p.RecordBatches)
	require.Equal(t, int16(1), raw.FetchAt(c, tp, 2).ErrorCode)
	require.Equal(t, int16(1), raw.FetchAt(c, tp, -1).ErrorCode)
}

func TestFetchUnknown(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.Equal(t, int16(3), raw.FetchAt(c, raw.Topic{Name: raw.TopicName(t)}, 0).ErrorCode)
	require.Equal(t, int16(100), raw.FetchAs(c, raw.FetchFrom(raw.Topic{ID: [16]byte{9}}, 0, 13)).ErrorCode)
	req := raw.FetchFrom(tp, 0, 12)
	req.Topics[0].Partitions[0].Partition = 3
	require.Equal(t, int16(3), raw.FetchAs(c, req).ErrorCode)
}

func TestFetchGivesOneWholeBatchOverAnyLimit(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	big := raw.KV("a", string(make([]byte, 10_000)))
	raw.MustProduce(c, tp, big)
	raw.MustProduce(c, tp, big)
	for name, change := range map[string]func(*kmsg.FetchRequest){
		"partition max": func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 1 },
		"max bytes":     func(r *kmsg.FetchRequest) { r.MaxBytes = 1 },
		"zero":          func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 0 },
	} {
		req := raw.FetchFrom(tp, 0, 12)
		change(req)
		require.Len(t, raw.BatchesOf(c, raw.FetchAs(c, req).RecordBatches), 1, name)
	}
}

func TestFetchMaxBytesHoldsAcrossPartitions(t *testing.T) {
	c := start(t).Dial(t)
	const n = 4
	tp := raw.CreateTopic(c, n)
	for i := range int32(n) {
		p := raw.ProduceAs(c, raw.ProduceTo(tp, i, 9, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 10_000)))))))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	read := func(maxBytes int32) map[int32]bool {
		req := raw.FetchFrom(tp, 0, 12)
		req.MaxBytes = maxBytes
		req.Topics[0].Partitions = nil
		for i := range int32(n) {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(i, 0))
		}
		got := map[int32]bool{}
		for _, p := range raw.Do[*kmsg.FetchResponse](c, req).Topics[0].Partitions {
			require.Zero(t, p.ErrorCode)
			require.Equal(t, int64(1), p.HighWatermark)
			if len(p.RecordBatches) > 0 {
				got[p.Partition] = true
			}
		}
		return got
	}
	require.Len(t, read(50<<20), n)
	require.Len(t, read(1), 1)
	require.Len(t, read(25_000), 2)
}

// forever is longer than a connection of a test lives: whoever has an answer did not wait for so long.
const forever = 600_000

func TestFetchWaitsForData(t *testing.T) {
	b := start(t)
	c, producer := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := raw.FetchFrom(tp, 0, 12)
	req.MaxWaitMillis = forever
	c.Send(req)
	raw.MustProduce(producer, tp, raw.KV("a", "1"))
	resp, _ := c.Receive(req)
	require.Len(t, raw.BatchesOf(c, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches), 1)
}

func TestFetchWaitsForMinBytes(t *testing.T) {
	b := start(t)
	c, producer := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	one := raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 100)))))
	req := raw.FetchFrom(tp, 0, 12)
	req.MaxWaitMillis, req.MinBytes = forever, int32(3*len(one))
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(1, 0))
	c.Send(req)
	for i := range int32(4) { // two into each partition: together enough, alone not
		p := raw.ProduceAs(producer, raw.ProduceTo(tp, i%2, 9, append([]byte{}, one...)))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	resp, _ := c.Receive(req)
	total := 0
	for _, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
		total += len(p.RecordBatches)
	}
	require.GreaterOrEqual(t, total, 3*len(one))
}

func TestFetchMaxWaitEnds(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	req := raw.FetchFrom(tp, 0, 12)
	req.MaxWaitMillis, req.MinBytes = 50, 1<<20
	started := time.Now()
	p := raw.FetchAs(c, req)
	require.GreaterOrEqual(t, time.Since(started), 50*time.Millisecond)
	require.NotEmpty(t, p.RecordBatches, "what is there is given")
}

func TestFetchErrorsAnswerAtOnce(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	req := raw.FetchFrom(tp, 0, 12)
	req.MaxWaitMillis = forever
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(1, 77))
	resp := raw.Do[*kmsg.FetchResponse](c, req)
	for _, p := range resp.Topics[0].Partitions {
		require.Equal(t, map[int32]int16{0: 0, 1: 1}[p.Partition], p.ErrorCode)
	}
}

func TestFetchEmptyRequest(t *testing.T) {
	c := start(t).Dial(t)
	req := raw.FetchFrom(raw.Topic{}, 0, 12)
	req.Topics = nil
	require.Empty(t, raw.Do[*kmsg.FetchResponse](c, req).Topics)
}

// TestFetchTakesAPartitionOnce: of several entries of one partition the last counts, in one topic entry or many.
func TestFetchTakesAPartitionOnce(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	for range 3 {
		raw.MustProduce(c, tp, raw.KV("a", "1"))
	}
	for _, version := range []int16{12, 13} {
		req := raw.FetchFrom(tp, 0, version)
		rt := req.Topics[0]
		rt.Partitions = []kmsg.FetchRequestTopicPartition{raw.FetchPartition(0, 0), raw.FetchPartition(0, 77), raw.FetchPartition(1, 0), raw.FetchPartition(0, 1)}
		again := rt
		again.Partitions = []kmsg.FetchRequestTopicPartition{raw.FetchPartition(1, 0), raw.FetchPartition(0, 2)}
		req.Topics = []kmsg.FetchRequestTopic{rt, again}
		resp := raw.Do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Len(t, resp.Topics, 1)
		got := resp.Topics[0].Partitions
		require.Len(t, got, 2)
		require.Equal(t, []int32{0, 1}, []int32{got[0].Partition, got[1].Partition})
		batches := raw.BatchesOf(c, got[0].RecordBatches)
		require.Len(t, batches, 1, "from the last entry's offset on")
		require.Equal(t, int64(2), batches[0].FirstOffset)
	}
}

func TestFetchLeaderEpochs(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	try := func(current int32) int16 {
		req := raw.FetchFrom(tp, 0, 12)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = current
		return raw.FetchAs(c, req).ErrorCode
	}
	require.Zero(t, try(epoch))
	require.Zero(t, try(-1))
	require.Equal(t, int16(75), try(epoch+1))
	if epoch > 0 {
		require.Equal(t, int16(74), try(epoch-1))
	}
}

func TestFetchDivergingEpoch(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	req := raw.FetchFrom(tp, 1, 12)
	req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
	require.NotEmpty(t, raw.FetchAs(c, req).RecordBatches)
	req.Topics[0].Partitions[0].LastFetchedEpoch = epoch + 5
	p := raw.FetchAs(c, req)
	require.Equal(t, int16(1), p.ErrorCode, "an epoch of the future: the client read another log")
	require.Empty(t, p.RecordBatches)
}

// TestFetchTellsWhereLogsPart: a client that has read beyond the end of its last epoch is told that end (KIP-595), in a session too.
func TestFetchTellsWhereLogsPart(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	parted := func(p kmsg.FetchResponseTopicPartition) {
		t.Helper()
		require.Zero(t, p.ErrorCode)
		require.Empty(t, p.RecordBatches)
		require.Equal(t, epoch, p.DivergingEpoch.Epoch)
		require.Equal(t, int64(2), p.DivergingEpoch.EndOffset)
	}
	for version := int16(12); version <= 18; version++ {
		req := raw.FetchFrom(tp, 7, version)
		req.MaxWaitMillis = forever // there is nothing to wait for
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		parted(raw.FetchAs(c, req))
		req.SessionEpoch = 0
		full := raw.Do[*kmsg.FetchResponse](c, req)
		parted(full.Topics[0].Partitions[0])
		s := &raw.Session{C: c, Version: version, ID: full.SessionID, Epoch: 1}
		for range 2 {
			parted(s.Fetch(nil).Topics[0].Partitions[0])
		}
		require.Empty(t, s.Fetch(raw.At(tp, 0, 2)).Topics, "it has truncated")
	}
}

// TestFetchEndsWithItsTopic: who waits for records of a topic that is deleted is told at once.
func TestFetchEndsWithItsTopic(t *testing.T) {
	b := start(t)
	for version, codes := range map[int16][]int16{12: {3}, 16: {3, 100}} {
		c, other := b.Dial(t), b.Dial(t)
		tp := raw.CreateTopic(c, 1)
		req := raw.FetchFrom(tp, 0, version)
		req.MaxWaitMillis = forever
		c.Send(req)
		deleteTopic(other, tp)
		resp, _ := c.Receive(req)
		require.Contains(t, codes, firstCode(resp.(*kmsg.FetchResponse)), "v%d", version)
	}
}

func TestFetchAbortedTransactionsByIsolation(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	req := raw.FetchFrom(tp, 0, 12)
	require.Nil(t, raw.FetchAs(c, req).AbortedTransactions)
	req.IsolationLevel = 1
	p := raw.FetchAs(c, req)
	require.NotNil(t, p.AbortedTransactions)
	require.NotEmpty(t, p.RecordBatches)
}
