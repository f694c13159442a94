package kafka_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var codecs = []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

// compressed returns a batch in a codec, by what is not our own code.
func compressed(t testing.TB, b kmsg.RecordBatch, codec int) kmsg.RecordBatch {
	t.Helper()
	if codec == 0 {
		return b
	}
	c, err := kgo.DefaultCompressor([]kgo.CompressionCodec{{}, kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[codec])
	require.NoError(t, err)
	out, got := c.Compress(bytes.NewBuffer(nil), b.Records)
	require.EqualValues(t, codec, got)
	b.Records, b.Attributes = bytes.Clone(out), b.Attributes|int16(codec)
	return b
}

// TestMaxDecompressedBytes: what decompresses to more is refused, in every codec, and nothing is stored of it. Without compression
// max.message.bytes bounds the batch.
func TestMaxDecompressedBytes(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	bomb := newBatch(testRecord{key: []byte("k"), value: make([]byte, 1<<20-1000)})
	honest := newBatch(kv("k", "v"))
	for codec := 1; codec < len(codecs); codec++ {
		tp, other := createTopic(c, 1, "keyframe.max.decompressed.bytes", "100000"), createTopic(c, 1)
		p := produce(c, tp, seal(compressed(t, bomb, codec)))
		requireCode(t, 10, p.ErrorCode, p.ErrorMessage)
		require.Contains(t, *p.ErrorMessage, "100000 bytes")
		require.Zero(t, listOffset(c, tp, 0, -1).Offset)
		p = produce(c, other, seal(compressed(t, bomb, codec)))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		p = produce(c, tp, seal(compressed(t, honest, codec)))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	plain := createTopic(c, 1, "keyframe.max.decompressed.bytes", "100000")
	p := produce(c, plain, seal(bomb))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestMaxDecompressedBytesOfWhatIsWrittenAnew: a batch that comes uncompressed has the limit as well where compression.type compresses it. Who
// folds it later reads no more than the limit.
func TestMaxDecompressedBytesOfWhatIsWrittenAnew(t *testing.T) {
	k := startKeyed(t, 1, "compression.type", "zstd", "max.message.bytes", "200000000")
	var records []testRecord
	for i := range 90 {
		records = append(records, testRecord{key: []byte{byte(i)}, value: make([]byte, 800_000)})
	}
	p := produce(k.conn, k.topic, seal(newBatch(records...)))
	requireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	require.Contains(t, *p.ErrorMessage, "67108864 bytes")
	p = produce(k.conn, k.topic, seal(newBatch(records[:80]...)))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	cut, err := k.b.keyframe.Cut(t.Context(), k.name)
	require.NoError(t, err)
	require.EqualValues(t, 80, cut.Frames[0].Digest.Count)

	k.set("keyframe.max.decompressed.bytes", "1000000")
	p = produce(k.conn, k.topic, seal(newBatch(records[:2]...)))
	requireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	k.set("compression.type", "uncompressed")
	p = produce(k.conn, k.topic, seal(newBatch(records[:2]...)))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestMaxDecompressedBytesChanges: the next batch has the limit of the moment, also the broker's.
func TestMaxDecompressedBytesChanges(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	batch := seal(compressed(t, newBatch(testRecord{key: []byte("k"), value: make([]byte, 10_000)}), 4))
	tp := createTopic(c, 1)
	limit := func(kind kmsg.ConfigResourceType, name string, op kmsg.IncrementalAlterConfigOp, value string) {
		resp := do[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
			{ResourceType: kind, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{
				{Name: "keyframe.max.decompressed.bytes", Op: op, Value: &value}}}}})
		requireCode(t, 0, resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
	}
	require.Zero(t, produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeBroker, "", 0, "1000")
	require.Equal(t, int16(10), produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeTopic, tp.name, 0, "20000")
	require.Zero(t, produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeTopic, tp.name, 1, "")
	require.Equal(t, int16(10), produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeBroker, "", 1, "")
	require.Zero(t, produce(c, tp, batch).ErrorCode)
}

// TestRecordErrorsOfEveryVersionAndCodec: the culprits are named from version 8 on; before it there is only the code.
func TestRecordErrorsOfEveryVersionAndCodec(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	for codec, name := range codecs {
		tp := createTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter", "compression.type", name)
		for version := int16(3); version <= 13; version++ {
			if codec == 4 && version < 7 {
				continue // zstd needs version 7
			}
			for came := range codecs {
				if came == 4 && version < 7 {
					continue
				}
				bad := seal(compressed(t, newBatch(kv("a", "1"), kv("b", "x"), kv("c", "2"), testRecord{value: []byte("1")}), came))
				p := produceAs(c, produceTo(tp, 0, version, bad))
				what := fmt.Sprintf("v%d %s to %s", version, codecs[came], name)
				require.Equal(t, int16(87), p.ErrorCode, what)
				require.Equal(t, int64(-1), p.BaseOffset, what)
				if version < 8 {
					require.Empty(t, p.ErrorRecords, what)
					continue
				}
				require.Len(t, p.ErrorRecords, 2, what)
				require.Equal(t, []int32{1, 3}, []int32{p.ErrorRecords[0].RelativeOffset, p.ErrorRecords[1].RelativeOffset}, what)
				require.Contains(t, *p.ErrorRecords[0].ErrorMessage, `"x" is no counter value`)
				require.Contains(t, *p.ErrorRecords[1].ErrorMessage, "without key")
				require.Contains(t, *p.ErrorMessage, "2 record errors")
			}
		}
		require.Zero(t, listOffset(c, tp, 0, -1).Offset)
		p := produce(c, tp, seal(compressed(t, newBatch(kv("a", "1"), kv("b", "2")), codec)))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
}
