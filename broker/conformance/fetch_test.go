package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestFetchAllVersions(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"))
	mustProduce(c, tp, kv("c", "3"))
	for version := int16(4); version <= 18; version++ {
		p := fetchAs(c, fetchFrom(tp, 0, version))
		require.Zero(t, p.ErrorCode)
		require.Equal(t, int64(3), p.HighWatermark)
		require.Equal(t, int64(3), p.LastStableOffset)
		batches := batchesOf(c, p.RecordBatches)
		require.Len(t, batches, 2, "v%d", version)
		require.Equal(t, int64(2), batches[1].FirstOffset)
	}
}

func TestFetchInsideABatchReturnsTheWholeBatch(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"), kv("c", "3"))
	batches := batchesOf(c, fetchAt(c, tp, 2).RecordBatches)
	require.Len(t, batches, 1)
	require.Equal(t, int64(0), batches[0].FirstOffset)
}

func TestFetchAtTheEndIsEmptyAndBeyondIsOutOfRange(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"))
	p := fetchAt(c, tp, 1)
	require.Zero(t, p.ErrorCode)
	require.Empty(t, p.RecordBatches)
	require.Equal(t, int16(1), fetchAt(c, tp, 2).ErrorCode)
	require.Equal(t, int16(1), fetchAt(c, tp, -1).ErrorCode)
}

func TestFetchUnknown(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	require.Equal(t, int16(3), fetchAt(c, topic{name: topicName(t)}, 0).ErrorCode)
	require.Equal(t, int16(100), fetchAs(c, fetchFrom(topic{id: [16]byte{9}}, 0, 13)).ErrorCode)
	req := fetchFrom(tp, 0, 12)
	req.Topics[0].Partitions[0].Partition = 3
	require.Equal(t, int16(3), fetchAs(c, req).ErrorCode)
}

func TestFetchGivesOneWholeBatchOverAnyLimit(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	big := kv("a", string(make([]byte, 10_000)))
	mustProduce(c, tp, big)
	mustProduce(c, tp, big)
	for name, change := range map[string]func(*kmsg.FetchRequest){
		"partition max": func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 1 },
		"max bytes":     func(r *kmsg.FetchRequest) { r.MaxBytes = 1 },
		"zero":          func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = 0 },
	} {
		req := fetchFrom(tp, 0, 12)
		change(req)
		require.Len(t, batchesOf(c, fetchAs(c, req).RecordBatches), 1, name)
	}
}

func TestFetchMaxBytesHoldsAcrossPartitions(t *testing.T) {
	c := start(t).dial(t)
	const n = 4
	tp := createTopic(c, n)
	for i := range int32(n) {
		p := produceAs(c, produceTo(tp, i, 9, seal(newBatch(kv("a", string(make([]byte, 10_000)))))))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	read := func(maxBytes int32) map[int32]bool {
		req := fetchFrom(tp, 0, 12)
		req.MaxBytes = maxBytes
		req.Topics[0].Partitions = nil
		for i := range int32(n) {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(i, 0))
		}
		got := map[int32]bool{}
		for _, p := range do[*kmsg.FetchResponse](c, req).Topics[0].Partitions {
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

func TestFetchWaitsForData(t *testing.T) {
	b := start(t)
	c, producer := b.dial(t), b.dial(t)
	tp := createTopic(c, 1)
	req := fetchFrom(tp, 0, 12)
	req.MaxWaitMillis = 30_000
	c.send(req)
	started := time.Now()
	mustProduce(producer, tp, kv("a", "1"))
	resp, _ := c.receive(req)
	require.Less(t, time.Since(started), 10*time.Second)
	require.Len(t, batchesOf(c, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches), 1)
}

func TestFetchWaitsForMinBytes(t *testing.T) {
	b := start(t)
	c, producer := b.dial(t), b.dial(t)
	tp := createTopic(c, 2)
	one := seal(newBatch(kv("a", string(make([]byte, 100)))))
	req := fetchFrom(tp, 0, 12)
	req.MaxWaitMillis, req.MinBytes = 30_000, int32(3*len(one))
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(1, 0))
	c.send(req)
	for i := range int32(4) { // two into each partition: together enough, alone not
		p := produceAs(producer, produceTo(tp, i%2, 9, append([]byte{}, one...)))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	resp, _ := c.receive(req)
	total := 0
	for _, p := range resp.(*kmsg.FetchResponse).Topics[0].Partitions {
		total += len(p.RecordBatches)
	}
	require.GreaterOrEqual(t, total, 3*len(one))
}

func TestFetchMaxWaitEnds(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"))
	req := fetchFrom(tp, 0, 12)
	req.MaxWaitMillis, req.MinBytes = 50, 1<<20
	started := time.Now()
	p := fetchAs(c, req)
	require.GreaterOrEqual(t, time.Since(started), 50*time.Millisecond)
	require.NotEmpty(t, p.RecordBatches, "what is there is given")
}

func TestFetchErrorsAnswerAtOnce(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 2)
	req := fetchFrom(tp, 0, 12)
	req.MaxWaitMillis = 30_000
	req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(1, 77))
	started := time.Now()
	resp := do[*kmsg.FetchResponse](c, req)
	require.Less(t, time.Since(started), 10*time.Second)
	for _, p := range resp.Topics[0].Partitions {
		require.Equal(t, map[int32]int16{0: 0, 1: 1}[p.Partition], p.ErrorCode)
	}
}

func TestFetchEmptyRequest(t *testing.T) {
	c := start(t).dial(t)
	req := fetchFrom(topic{}, 0, 12)
	req.Topics = nil
	require.Empty(t, do[*kmsg.FetchResponse](c, req).Topics)
}

// TestFetchTakesAPartitionOnce: of several entries of one partition the last counts, in one topic entry or many.
func TestFetchTakesAPartitionOnce(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 2)
	for range 3 {
		mustProduce(c, tp, kv("a", "1"))
	}
	for _, version := range []int16{12, 13} {
		req := fetchFrom(tp, 0, version)
		rt := req.Topics[0]
		rt.Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(0, 0), fetchPartition(0, 77), fetchPartition(1, 0), fetchPartition(0, 1)}
		again := rt
		again.Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(1, 0), fetchPartition(0, 2)}
		req.Topics = []kmsg.FetchRequestTopic{rt, again}
		resp := do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Len(t, resp.Topics, 1)
		got := resp.Topics[0].Partitions
		require.Len(t, got, 2)
		require.Equal(t, []int32{0, 1}, []int32{got[0].Partition, got[1].Partition})
		batches := batchesOf(c, got[0].RecordBatches)
		require.Len(t, batches, 1, "from the last entry's offset on")
		require.Equal(t, int64(2), batches[0].FirstOffset)
	}
}

func TestFetchLeaderEpochs(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"))
	epoch := describe(c, tp.name).Partitions[0].LeaderEpoch
	try := func(current int32) int16 {
		req := fetchFrom(tp, 0, 12)
		req.Topics[0].Partitions[0].CurrentLeaderEpoch = current
		return fetchAs(c, req).ErrorCode
	}
	require.Zero(t, try(epoch))
	require.Zero(t, try(-1))
	require.Equal(t, int16(75), try(epoch+1))
	if epoch > 0 {
		require.Equal(t, int16(74), try(epoch-1))
	}
}

func TestFetchDivergingEpoch(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"))
	epoch := describe(c, tp.name).Partitions[0].LeaderEpoch
	req := fetchFrom(tp, 1, 12)
	req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
	require.NotEmpty(t, fetchAs(c, req).RecordBatches)
	req.Topics[0].Partitions[0].LastFetchedEpoch = epoch + 5
	p := fetchAs(c, req)
	require.Equal(t, int16(1), p.ErrorCode, "an epoch of the future: the client read another log")
	require.Empty(t, p.RecordBatches)
}

// TestFetchTellsWhereLogsPart: a client that has read beyond the end of its last epoch is told that end (KIP-595), in a session too.
func TestFetchTellsWhereLogsPart(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"), kv("b", "2"))
	epoch := describe(c, tp.name).Partitions[0].LeaderEpoch
	parted := func(p kmsg.FetchResponseTopicPartition) {
		t.Helper()
		require.Zero(t, p.ErrorCode)
		require.Empty(t, p.RecordBatches)
		require.Equal(t, epoch, p.DivergingEpoch.Epoch)
		require.Equal(t, int64(2), p.DivergingEpoch.EndOffset)
	}
	for version := int16(12); version <= 18; version++ {
		req := fetchFrom(tp, 7, version)
		req.MaxWaitMillis = 30_000 // there is nothing to wait for
		req.Topics[0].Partitions[0].LastFetchedEpoch = epoch
		parted(fetchAs(c, req))
		req.SessionEpoch = 0
		full := do[*kmsg.FetchResponse](c, req)
		parted(full.Topics[0].Partitions[0])
		s := &session{c: c, version: version, id: full.SessionID, epoch: 1}
		for range 2 {
			parted(s.fetch(nil).Topics[0].Partitions[0])
		}
		require.Empty(t, s.fetch(at(tp, 0, 2)).Topics, "it has truncated")
	}
}

// TestFetchEndsWithItsTopic: who waits for records of a topic that is deleted is told at once.
func TestFetchEndsWithItsTopic(t *testing.T) {
	b := start(t)
	for version, codes := range map[int16][]int16{12: {3}, 16: {3, 100}} {
		c, other := b.dial(t), b.dial(t)
		tp := createTopic(c, 1)
		req := fetchFrom(tp, 0, version)
		req.MaxWaitMillis = 30_000
		c.send(req)
		started := time.Now()
		deleteTopic(other, tp)
		resp, _ := c.receive(req)
		require.Less(t, time.Since(started), 10*time.Second)
		require.Contains(t, codes, firstCode(resp.(*kmsg.FetchResponse)), "v%d", version)
	}
}

func TestFetchAbortedTransactionsByIsolation(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, kv("a", "1"))
	req := fetchFrom(tp, 0, 12)
	require.Nil(t, fetchAs(c, req).AbortedTransactions)
	req.IsolationLevel = 1
	p := fetchAs(c, req)
	require.NotNil(t, p.AbortedTransactions)
	require.NotEmpty(t, p.RecordBatches)
}
