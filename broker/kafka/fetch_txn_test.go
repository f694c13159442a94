package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

// txns writes transactions into one partition through the log itself.
type txns struct {
	t     testing.TB
	store *log.Store
	p     *log.Partition
	next  map[int64]int32 // sequences, by producer
}

func (b *broker) txns(t testing.TB, name string) *txns {
	topic, ok := b.registry.Get(name)
	require.True(t, ok)
	return &txns{t: t, store: b.store, p: topic.Partitions[0].Log, next: map[int64]int32{}}
}

// put appends a batch in the producer's transaction.
func (x *txns) put(producer int64, records ...raw.Record) {
	x.t.Helper()
	b := raw.NewBatch(records...)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence, b.Attributes = producer, 0, x.next[producer], b.Attributes|1<<4
	x.next[producer] += int32(len(records))
	a, err := x.p.Append(batch.Batch(raw.Seal(b)))
	require.NoError(x.t, err)
	require.NoError(x.t, a.Wait(x.t.Context()))
}

func (x *txns) end(producer int64, commit bool) {
	x.t.Helper()
	a, err := x.store.AppendMarkers([]*log.Partition{x.p}, log.Marker{ProducerID: producer, Commit: commit}, nil)
	require.NoError(x.t, err)
	require.NoError(x.t, a.Wait(x.t.Context()))
}

func committedFrom(tp raw.Topic, offset int64) *kmsg.FetchRequest {
	req := raw.FetchFrom(tp, offset, 12)
	req.IsolationLevel = 1
	return req
}

// aborted lists producer and first offset.
func aborted(p kmsg.FetchResponseTopicPartition) (list [][2]int64) {
	for _, a := range p.AbortedTransactions {
		list = append(list, [2]int64{a.ProducerID, a.FirstOffset})
	}
	return list
}

// A reader of committed records that waits at the last stable offset is woken by the marker.
func TestFetchWakesWhenTheLastStableOffsetMoves(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	x := b.txns(t, tp.Name)
	x.put(7, raw.KV("a", "1"), raw.KV("b", "1"))
	x.put(8, raw.KV("c", "1"))
	req := committedFrom(tp, 0)
	require.Empty(t, raw.FetchAs(c, req).RecordBatches)
	require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches), 2, "everybody else reads on")

	req.MaxWaitMillis, req.MinBytes = forever, 1
	c.Send(req)
	x.end(8, false) // 3: behind the last stable offset
	x.end(7, true)  // 4
	resp, _ := c.Receive(req)
	p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	require.Len(t, raw.BatchesOf(c, p.RecordBatches), 4)
	require.Equal(t, []int64{5, 5}, []int64{p.HighWatermark, p.LastStableOffset})
	require.Equal(t, [][2]int64{{8, 2}}, aborted(p))
	require.Empty(t, raw.FetchAt(c, tp, 0).AbortedTransactions, "only who reads committed records is told")
	require.Empty(t, aborted(raw.FetchAs(c, committedFrom(tp, 4))), "it ended before")
	require.Equal(t, [][2]int64{{8, 2}}, aborted(raw.FetchAs(c, committedFrom(tp, 3))))
}

// Below the delta start offset there are only rows of what is committed, and no list: a client would wait for markers that are gone. A
// transaction that straddles it is listed with the raw batches.
func TestRowsOfTransactions(t *testing.T) {
	k := startKeyed(t, 1, "keyframe.delta.retention.ms", "0")
	x := k.b.txns(t, k.Name)
	x.put(7, raw.KV("a", "aborted"))
	x.end(7, false)
	x.put(8, raw.KV("b", "aborted, and its marker lies above"))
	x.put(9, raw.KV("c", "holds")) // 3
	x.put(7, raw.KV("a", "1"))     // 4
	x.end(7, true)                 // 5
	x.end(8, false)                // 6
	_, err := k.b.keyframe.Cut(t.Context(), k.Name)
	require.NoError(t, err)    // at 3, inside the transaction of 8
	x.end(9, true)             // 7
	x.put(8, raw.KV("b", "2")) // 8
	x.end(8, true)
	table, err := k.partition(0).Table()
	require.NoError(t, err)
	k.eventually(func() bool { return k.partition(0).Bounds().DeltaStart == 3 && table.Frames()[0].Cut == 3 })

	require.Empty(t, aborted(raw.FetchAs(k.Conn, committedFrom(k.Topic, 9))))
	require.Equal(t, [][2]int64{{8, 2}}, aborted(raw.FetchAs(k.Conn, committedFrom(k.Topic, 3))))
	// There is no row below 3: what was written there is aborted. A client that reads from the start arrives at the state.
	state, reading := map[string]string{}, map[int64]bool{}
	for next := int64(0); next < k.partition(0).Bounds().LastStable; {
		p := raw.FetchAs(k.Conn, committedFrom(k.Topic, next))
		require.Zero(t, p.ErrorCode)
		for _, a := range p.AbortedTransactions {
			reading[a.ProducerID] = true
		}
		for _, b := range raw.BatchesOf(k.Conn, p.RecordBatches) {
			next = b.FirstOffset + int64(b.LastOffsetDelta) + 1
			if b.Attributes&(1<<5) != 0 {
				delete(reading, b.ProducerID)
				continue
			}
			for _, r := range recordsOf(k.Conn, b) {
				if !reading[b.ProducerID] {
					state[string(r.Key)] = string(r.Value)
				}
			}
		}
	}
	require.Equal(t, map[string]string{"a": "1", "b": "2", "c": "holds"}, state)
}

// Times and ends are those of what the reader may see.
func TestListOffsetsOfCommittedRecords(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	x := b.txns(t, tp.Name)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	x.put(7, raw.KV("b", "1"))
	list := func(timestamp int64, isolation int8) int64 {
		req := kmsg.NewPtrListOffsetsRequest()
		req.Version, req.IsolationLevel = 7, isolation
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Timestamp, rp.CurrentLeaderEpoch = timestamp, -1
		req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: tp.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{rp}}}
		p := raw.Do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0]
		require.Zero(t, p.ErrorCode)
		return p.Offset
	}
	require.Equal(t, []int64{2, 1}, []int64{list(-1, 0), list(-1, 1)})
	require.Equal(t, []int64{0, 0}, []int64{list(0, 0), list(0, 1)})
	x.end(7, true)
	require.Equal(t, []int64{3, 3}, []int64{list(-1, 0), list(-1, 1)})
}
