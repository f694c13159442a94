package kafka

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFetchResponseIsEncodedAsKmsgDoes: in every version, whatever is in it.
func TestFetchResponseIsEncodedAsKmsgDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for version := int16(0); version <= 18; version++ {
		for range 50 {
			resp := kmsg.NewPtrFetchResponse()
			resp.Version, resp.ThrottleMillis, resp.ErrorCode, resp.SessionID = version, rng.Int32(), int16(rng.IntN(100)), rng.Int32()
			r := &fetchResponse{FetchResponse: resp}
			whole := *resp
			for range rng.IntN(3) {
				topic := kmsg.NewFetchResponseTopic()
				topic.Topic, topic.TopicID = "topic", [16]byte{byte(rng.IntN(256))}
				filled := topic
				for i := range rng.IntN(4) {
					p, rows := randomAnswer(rng, int32(i)), make([]byte, rng.IntN(300))
					topic.Partitions = append(topic.Partitions, p)
					p.RecordBatches = rows
					filled.Partitions = append(filled.Partitions, p)
					r.records = append(r.records, records{rows: rows})
				}
				resp.Topics, whole.Topics = append(resp.Topics, topic), append(whole.Topics, filled)
			}
			var got []byte
			for _, p := range r.Parts() {
				require.Nil(t, p.Body)
				got = append(got, p.Head...)
			}
			require.True(t, bytes.Equal(whole.AppendTo(nil), got), "version %d", version)
		}
	}
}

func randomAnswer(rng *rand.Rand, partition int32) kmsg.FetchResponseTopicPartition {
	p := emptyAnswer(partition)
	p.ErrorCode = int16(rng.IntN(100))
	p.HighWatermark, p.LastStableOffset, p.LogStartOffset = rng.Int64(), rng.Int64(), rng.Int64()
	p.PreferredReadReplica = rng.Int32()
	if rng.IntN(2) == 0 {
		p.AbortedTransactions = []kmsg.FetchResponseTopicPartitionAbortedTransaction{}
		for range rng.IntN(3) {
			a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
			a.ProducerID, a.FirstOffset = rng.Int64(), rng.Int64()
			p.AbortedTransactions = append(p.AbortedTransactions, a)
		}
	}
	if rng.IntN(2) == 0 {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = rng.Int32(), rng.Int64()
	}
	return p
}
