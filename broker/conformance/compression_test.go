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
)

// codecNames are the compressions by their number in a batch's attributes.
var codecNames = []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

// compressed returns a batch in a codec.
func compressed(t testing.TB, b kmsg.RecordBatch, codec int) kmsg.RecordBatch {
	t.Helper()
	if codec == 0 {
		return b
	}
	c, err := kgo.DefaultCompressor([]kgo.CompressionCodec{{}, kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[codec])
	require.NoError(t, err)
	out, got := c.Compress(bytes.NewBuffer(nil), b.Records)
	require.EqualValues(t, codec, got)
	b.Records = bytes.Clone(out)
	b.Attributes |= int16(codec)
	return b
}

// plainRecords decompresses a batch.
func plainRecords(t testing.TB, b kmsg.RecordBatch) []byte {
	t.Helper()
	out, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	require.NoError(t, err)
	return out
}

func manyRecords() (list []testRecord) {
	for i := range 100 {
		list = append(list, testRecord{key: []byte(fmt.Sprint("key", i)), value: bytes.Repeat([]byte{byte('a' + i%3)}, 30), timestamp: int64(i % 5),
			headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}})
	}
	return list
}

// wordyRecords have repetitions near and far, so that a compressor finds more of them the longer it looks.
func wordyRecords() (list []testRecord) {
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
		list = append(list, testRecord{value: value})
	}
	return list
}

// compression.type: producer keeps batches as they came, all others have the broker write the records anew.
func TestCompressionType(t *testing.T) {
	c := start(t).dial(t)
	for target, name := range append(codecNames, "producer") {
		tp := createTopic(c, 1, "compression.type", name)
		for codec := range codecNames {
			came := compressed(t, newBatch(manyRecords()...), codec)
			p := produce(c, tp, seal(came))
			requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			stored := batchesOf(c, fetchAt(c, tp, p.BaseOffset).RecordBatches)
			require.Len(t, stored, 1)
			want := target
			if name == "producer" {
				want = codec
			}
			require.EqualValues(t, want, stored[0].Attributes, "%s to %s", codecNames[codec], name)
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
	c := start(t).dial(t)
	for codec, levels := range map[int][]string{1: {"1", "-1", "9"}, 3: {"9", "1", "17"}, 4: {"-131072", "3", "22"}} {
		var sizes []int
		for _, level := range levels {
			tp := createTopic(c, 1, "compression.type", codecNames[codec], "compression."+codecNames[codec]+".level", level)
			b := newBatch(wordyRecords()...)
			p := produce(c, tp, seal(b))
			requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			stored := batchesOf(c, fetchAt(c, tp, 0).RecordBatches)
			require.EqualValues(t, codec, stored[0].Attributes)
			require.Equal(t, b.Records, plainRecords(t, stored[0]))
			sizes = append(sizes, len(stored[0].Records))
		}
		require.Less(t, sizes[2], sizes[0], "%s, %v: %v", codecNames[codec], levels, sizes)
	}
}

// A batch that is written anew is its producer's as before: the retry is a duplicate.
func TestCompressionKeepsTheProducer(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "compression.type", "gzip")
	id := newProducerID(c)
	for range 2 {
		p := produce(c, tp, sequenced(id, 0, 0, manyRecords()...))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Zero(t, p.BaseOffset)
	}
	p := produce(c, tp, sequenced(id, 0, 100, kv("a", "1")))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, int64(100), p.BaseOffset)
	stored := batchesOf(c, fetchAt(c, tp, 0).RecordBatches)
	require.Len(t, stored, 2)
	for i, sequence := range []int32{0, 100} {
		require.EqualValues(t, 1, stored[i].Attributes)
		require.Equal(t, id, stored[i].ProducerID)
		require.Zero(t, stored[i].ProducerEpoch)
		require.Equal(t, sequence, stored[i].FirstSequence)
	}
}

func TestCompressionWithLogAppendTime(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1, "compression.type", "lz4", "message.timestamp.type", "LogAppendTime")
	p := produce(c, tp, seal(newBatch(manyRecords()...)))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	stored := batchesOf(c, fetchAt(c, tp, 0).RecordBatches)
	require.EqualValues(t, 8|3, stored[0].Attributes)
	require.Equal(t, p.LogAppendTime, stored[0].MaxTimestamp)
}

// max.message.bytes holds for the batch as it came and as it is stored.
func TestCompressionAndMaxMessageBytes(t *testing.T) {
	c := start(t).dial(t)
	small := compressed(t, newBatch(manyRecords()...), 4)
	tp := createTopic(c, 1, "compression.type", "uncompressed", "max.message.bytes", fmt.Sprint(len(small.Records)+200))
	p := produce(c, tp, seal(small))
	requireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	require.Zero(t, listOffset(c, tp, 0, -1).Offset)
	tp = createTopic(c, 1, "compression.type", "zstd", "max.message.bytes", fmt.Sprint(len(small.Records)+200))
	p = produce(c, tp, seal(newBatch(manyRecords()...)))
	requireCode(t, 10, p.ErrorCode, p.ErrorMessage)
}

// compression.type changes from the next batch on; what is there stays.
func TestCompressionChanges(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	mustProduce(c, tp, manyRecords()...)
	require.Zero(t, alter(c, ofTopic, tp.name, set("compression.type", "zstd")))
	require.Eventually(t, func() bool {
		offset := mustProduce(c, tp, manyRecords()...)
		return batchesOf(c, fetchAt(c, tp, offset).RecordBatches)[0].Attributes == 4
	}, 10*time.Second, 5*time.Millisecond)
	require.Zero(t, batchesOf(c, fetchAt(c, tp, 0).RecordBatches)[0].Attributes)
}
