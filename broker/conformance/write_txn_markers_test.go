package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// markerFor is a request for one marker, an abort as kafka-transactions sends it.
func markerFor(id int64, epoch int16, topics ...kmsg.WriteTxnMarkersRequestMarkerTopic) *kmsg.WriteTxnMarkersRequest {
	req := kmsg.NewPtrWriteTxnMarkersRequest()
	req.Version = 1
	req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: id, ProducerEpoch: epoch, Topics: topics}}
	return req
}

func partitionsOf(topic string, partitions ...int32) kmsg.WriteTxnMarkersRequestMarkerTopic {
	return kmsg.WriteTxnMarkersRequestMarkerTopic{Topic: topic, Partitions: partitions}
}

// writeMarkers returns the codes of a request for one marker.
func writeMarkers(c *raw.Conn, req *kmsg.WriteTxnMarkersRequest) map[topicIndex]int16 {
	c.T.Helper()
	resp := raw.Do[*kmsg.WriteTxnMarkersResponse](c, req)
	require.Len(c.T, resp.Markers, 1)
	require.Equal(c.T, req.Markers[0].ProducerID, resp.Markers[0].ProducerID)
	codes := map[topicIndex]int16{}
	for _, rt := range resp.Markers[0].Topics {
		for _, rp := range rt.Partitions {
			codes[topicIndex{rt.Topic, rp.Partition}] = rp.ErrorCode
		}
	}
	return codes
}

// A marker is written whether or not a transaction is open; epochs of producers and coordinators never go back.
func TestWriteTxnMarkers(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	at := topicIndex{tp.Name, 0}
	id := raw.NewProducerID(c) + 1_000_000 // no producer has it yet
	one := func(id int64, epoch int16, coordinator int32, commit bool) int16 {
		t.Helper()
		req := markerFor(id, epoch, partitionsOf(tp.Name, 0))
		req.Markers[0].CoordinatorEpoch, req.Markers[0].Committed = coordinator, commit
		return writeMarkers(c, req)[at]
	}
	require.Zero(t, one(id, 0, 0, false))
	require.Zero(t, one(id, 0, 0, false))
	require.Zero(t, one(id, 0, 0, true))
	require.Zero(t, one(id, 5, 0, false))
	require.Equal(t, int16(47), one(id, 4, 0, false))
	require.Zero(t, one(id, 5, 7, false))
	require.Equal(t, int16(52), one(id, 5, 6, false))
	require.Equal(t, int16(-1), one(id, -1, 7, false))
	require.Equal(t, int16(-1), one(-1, 0, 0, false))
	require.Equal(t, []marker{{0, id, 0, false}, {1, id, 0, false}, {2, id, 0, true}, {3, id, 5, false}, {4, id, 5, false}}, markers(c, tp, 0))
	p := stable(c, tp, 0, 0)
	require.Equal(t, [2]int64{5, 5}, [2]int64{p.HighWatermark, p.LastStableOffset})

	missing := raw.TopicName(t)
	require.Equal(t, map[topicIndex]int16{{tp.Name, 0}: 0, {tp.Name, 1}: 0, {tp.Name, 9}: 3, {missing, 0}: 3},
		writeMarkers(c, markerFor(id+1, 0, partitionsOf(tp.Name, 0, 9, 1), partitionsOf(missing, 0))))
	require.Len(t, markers(c, tp, 0), 6)
	require.Len(t, markers(c, tp, 1), 1)
	require.Equal(t, map[topicIndex]int16{{tp.Name, 0}: 47, {tp.Name, 1}: 0},
		writeMarkers(c, markerFor(id, 1, partitionsOf(tp.Name, 0, 1))), "one is refused, the other is not")
	require.Empty(t, raw.Do[*kmsg.WriteTxnMarkersResponse](c, &kmsg.WriteTxnMarkersRequest{Version: 1}).Markers)
}

// Markers end what is open in a partition, which a reader of committed records sees. The coordinator is not told: the producer's transaction
// goes on, and ends as it would have.
func TestWriteTxnMarkersInAnOpenTransaction(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	for _, raised := range []int16{-1, 0, 1} {
		tp := raw.CreateTopic(c, 2)
		p := b.transactor(t, raw.TopicName(t)).init().init()
		p.produce(tp, 0, raw.KV("k", "v"))
		p.produce(tp, 1, raw.KV("k", "w"))
		code := writeMarkers(c, markerFor(p.id, p.epoch+raised, partitionsOf(tp.Name, 0)))[topicIndex{tp.Name, 0}]
		s := stable(c, tp, 0, 0)
		if raised < 0 {
			require.Equal(t, int16(47), code)
			require.Zero(t, s.LastStableOffset)
		} else {
			require.Zero(t, code)
			require.Equal(t, int64(2), s.LastStableOffset)
			require.Equal(t, []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: p.id, FirstOffset: 0}}, s.AbortedTransactions)
		}
		require.Equal(t, "Ongoing", describeTxn(c, p.txn).State)
		require.Zero(t, stable(c, tp, 1, 0).LastStableOffset, "another partition")
		if raised > 0 {
			require.Equal(t, int16(47), p.tryProduce(12, tp, 0, raw.KV("k", "x")).ErrorCode)
		}
		p.end(true)
		awaitState(c, p.txn, "CompleteCommit")
		require.Len(t, awaitMarkers(c, tp, 1, 1), 1)
		s = stable(c, tp, 0, 0)
		require.Equal(t, s.HighWatermark, s.LastStableOffset)
		require.Equal(t, raised >= 0, len(s.AbortedTransactions) > 0)
		p.produce(tp, 0, raw.KV("k", "next"))
		p.end(true)
	}
}
