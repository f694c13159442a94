package conformance_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// plainRecords decompresses a batch.
func plainRecords(t testing.TB, b kmsg.RecordBatch) []byte {
	t.Helper()
	out, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	require.NoError(t, err)
	return out
}

func manyRecords() (list []raw.Record) {
	for i := range 100 {
		list = append(list, raw.Record{Key: []byte(fmt.Sprint("key", i)), Value: bytes.Repeat([]byte{byte('a' + i%3)}, 30), Timestamp: int64(i % 5),
			Headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}})
	}
	return list
}

// wordyRecords have repetitions near and far, so that a compressor finds more of them the longer it looks.
func wordyRecords() (list []raw.Record) {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 500)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", random.Uint64())[:4+random.IntN(12)]
	}
	for range 200 {
		var value []byte
		for range 20 {
			value = append(value, words[random.IntN(len(words))]...)
		}
		list = append(list, raw.Record{Value: value})
	}
	return list
}

// compression.type: producer keeps batches as they came, all others have the broker write the records anew.
func TestCompressionType(t *testing.T) {
	c := start(t).Dial(t)
	for target, name := range append(raw.Codecs, "producer") {
		tp := raw.CreateTopic(c, 1, "compression.type", name)
		for codec := range raw.Codecs {
			came := raw.Compressed(t, raw.NewBatch(manyRecords()...), codec)
			p := raw.Produce(c, tp, raw.Seal(came))
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			stored := raw.BatchesOf(c, raw.FetchAt(c, tp, p.BaseOffset).RecordBatches)
			require.Len(t, stored, 1)
			want := target
			if name == "producer" {
				want = codec
			}
			require.EqualValues(t, want, stored[0].Attributes, "%s to %s", raw.Codecs[codec], name)
			if want == codec {
				require.Equal(t, came.Records, stored[0].Records, "as they came")
			}
			require.Equal(t, plainRecords(t, came), plainRecords(t, stored[0]))
			require.Equal(t, came.FirstTimestamp, stored[0].FirstTimestamp)
			require.Equal(t, came.MaxTimestamp, stored[0].MaxTimestamp)
			require.Equal(t, int32(100), stored[0].NumRecords)
			require.Equal(t, int32(99), stored[0].LastOffsetDelta)
		}
	}
}

// The levels are accepted over their whole range, what they make can be read, and the highest makes less than the lowest; of LZ4 less than 9,
// which is the fast compressor.
func TestCompressionLevels(t *testing.T) {
	c := start(t).Dial(t)
	for codec, levels := range map[int][]string{1: {"1", "-1", "9"}, 3: {"9", "1", "17"}, 4: {"-131072", "3", "22"}} {
		var sizes []int
		for _, level := range levels {
			tp := raw.CreateTopic(c, 1, "compression.type", raw.Codecs[codec], "compression."+raw.Codecs[codec]+".level", level)
			b := raw.NewBatch(wordyRecords()...)
			p := raw.Produce(c, tp, raw.Seal(b))
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
			require.EqualValues(t, codec, stored[0].Attributes)
			require.Equal(t, b.Records, plainRecords(t, stored[0]))
			sizes = append(sizes, len(stored[0].Records))
		}
		require.Less(t, sizes[2], sizes[0], "%s, %v: %v", raw.Codecs[codec], levels, sizes)
	}
}

// A batch that is written anew is its producer's as before: the retry is a duplicate.
func TestCompressionKeepsTheProducer(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "compression.type", "gzip")
	id := raw.NewProducerID(c)
	for range 2 {
		p := raw.Produce(c, tp, raw.Sequenced(id, 0, 0, manyRecords()...))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Zero(t, p.BaseOffset)
	}
	p := raw.Produce(c, tp, raw.Sequenced(id, 0, 100, raw.KV("a", "1")))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, int64(100), p.BaseOffset)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
	require.Len(t, stored, 2)
	for i, sequence := range []int32{0, 100} {
		require.EqualValues(t, 1, stored[i].Attributes)
		require.Equal(t, id, stored[i].ProducerID)
		require.Zero(t, stored[i].ProducerEpoch)
		require.Equal(t, sequence, stored[i].FirstSequence)
	}
}

func TestCompressionWithLogAppendTime(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "compression.type", "lz4", "message.timestamp.type", "LogAppendTime")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(manyRecords()...)))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
	require.EqualValues(t, 8|3, stored[0].Attributes)
	require.Equal(t, p.LogAppendTime, stored[0].MaxTimestamp)
}

// max.message.bytes holds for the batch as it came and as it is stored.
func TestCompressionAndMaxMessageBytes(t *testing.T) {
	c := start(t).Dial(t)
	small := raw.Compressed(t, raw.NewBatch(manyRecords()...), 4)
	tp := raw.CreateTopic(c, 1, "compression.type", "uncompressed", "max.message.bytes", fmt.Sprint(len(small.Records)+200))
	p := raw.Produce(c, tp, raw.Seal(small))
	raw.RequireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
	tp = raw.CreateTopic(c, 1, "compression.type", "zstd", "max.message.bytes", fmt.Sprint(len(small.Records)+200))
	p = raw.Produce(c, tp, raw.Seal(raw.NewBatch(manyRecords()...)))
	raw.RequireCode(t, 10, p.ErrorCode, p.ErrorMessage)
}

// compression.type changes from the next batch on; what is there stays.
func TestCompressionChanges(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, manyRecords()...)
	require.Zero(t, alter(c, ofTopic, tp.Name, set("compression.type", "zstd")))
	require.Eventually(t, func() bool {
		offset := raw.MustProduce(c, tp, manyRecords()...)
		return raw.BatchesOf(c, raw.FetchAt(c, tp, offset).RecordBatches)[0].Attributes == 4
	}, time.Minute, 5*time.Millisecond)
	require.Zero(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)[0].Attributes)
}
